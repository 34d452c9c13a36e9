"""What needs packets or the switch database: ICMP errors, resets, neighbour solicitation, table names."""
