"""Larger receive buffers for the packet sockets of a userspace datapath.

ovs-vswitchd reads a veth port through a packet socket with the system's default buffer (208 KiB), which three 64 KiB
segments fill: measured, one unthrottled TCP stream then costs a ping beside it 5 % of its packets.  The default is a
setting of the whole machine (``net.core.rmem_default``), so the sockets themselves are changed instead.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
SYS_PIDFD_GETFD = 438  # the same on every architecture (pidfd_getfd(2), Linux 5.6)
RECEIVE_BUFFER = 16 * 1024 * 1024  # bytes; more than TCP's largest default window with its overhead


def packet_sockets(pid: int) -> list[int]:
    """Return the descriptor numbers of a process's packet sockets."""
    rows = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    inodes = {f"socket:[{row.split()[-1]}]" for row in rows}
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry) in inodes:
                found.append(int(entry.name))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def enlarge_packet_buffers(pid: int, size: int = RECEIVE_BUFFER) -> int:
    """Give all packet sockets of a process receive buffers of ``size`` bytes; return how many there are.

    Raises OSError where the kernel does not allow it (it takes the rights of a debugger).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        descriptors = packet_sockets(pid)
        for descriptor in descriptors:
            copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, descriptor, 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            with socket.socket(fileno=copy) as one:
                one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        return len(descriptors)
    finally:
        os.close(pidfd)
