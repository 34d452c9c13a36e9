"""Send frames as they are: ``inject.py INTERFACE``; reads one frame per line, in hexadecimal."""

from __future__ import annotations

import socket
import sys

ETH_P_ALL = 3

if __name__ == "__main__":
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((sys.argv[1], ETH_P_ALL))
        for line in sys.stdin:
            out.send(bytes.fromhex(line))
