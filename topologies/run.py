"""``python -m topologies.run four_edge``: a lab with its controller, and Mininet's command line on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.model import ModelError
from topologies.errors import LabError
from topologies.lab import Lab


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a lab until the command line is left; return the exit code (2 for a bad file or topology, 1 otherwise)."""
    parser = argparse.ArgumentParser(prog="python -m topologies.run", description=__doc__)
    parser.add_argument("topology", help="four_edge, ecmp, vm_a_to_host_b")
    parser.add_argument("--config", type=Path, help="gateway file (default: etc/gateways/TOPOLOGY.yaml)")
    parser.add_argument("--no-controller", action="store_true", help="leave the switches without a controller")
    parser.add_argument("--isolated", action="store_true", help="give every edge a namespace and an Open vSwitch")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds until the gateway must be settled")
    options = parser.parse_args(arguments)
    try:
        lab = Lab(options.topology, config=options.config, controller=not options.no_controller,
                  isolated=options.isolated)
    except (ModelError, LabError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with lab:
            if not options.no_controller:
                lab.wait_settled(options.timeout)
                print(f"controller: {lab.api}  log: {lab.controller.log}")
            print(f"hosts: {', '.join(host.name for host in lab.net.hosts)}")
            print("try: A ping -c 1 B | owner 192.0.2.2 | path A B | status | help")
            lab.cli()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
