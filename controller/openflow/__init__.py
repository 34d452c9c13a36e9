"""The only place that knows the wire format: desired values to OpenFlow 1.5 messages, and replies to values."""
