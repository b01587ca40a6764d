"""The network interface over which the processes of a run reach one another.

gloo listens at the address that the name of its machine has. On many machines this is 127.0.0.1 or 127.0.1.1,
where no other machine finds it.
"""

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
from typing import Final

__all__ = ["VARIABLE", "listen_towards"]

VARIABLE: Final = "GLOO_SOCKET_IFNAME"
"""Environment variable with the name of the interface at which gloo listens."""

_ADDRESS_OF: Final = 0x8915
"""The request SIOCGIFADDR of Linux."""


def listen_towards(host: str, port: int) -> None:
    """Let gloo listen at the interface that leads to process 0, unless `VARIABLE` names one.

    Nothing is changed if process 0 is on this machine only, or if the interface cannot be found.

    Args:
        host: Name or address of the machine of process 0.
        port: Its port. Nothing is sent there.
    """
    name = _interface(host, port)
    if name is not None:
        os.environ.setdefault(VARIABLE, name)


def _interface(host: str, port: int) -> str | None:
    """Return the interface by which packets to an address leave this machine; None for the loopback one."""
    with contextlib.suppress(OSError, UnicodeError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        own = ipaddress.ip_address(probe.getsockname()[0])
        for _, name in [] if own.is_loopback else socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                found = fcntl.ioctl(probe, _ADDRESS_OF, struct.pack("256s", name.encode()[:15]))
                if ipaddress.ip_address(found[20:24]) == own:
                    return name
    return None
