"""Where a local server listens, and the address to open."""

from __future__ import annotations

import errno
import socket

from cxrlab.errors import UserError

ANY = ("0.0.0.0", "::")
_PORTS_TRIED = 20
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def http_address(host: str, port: int) -> str:
    """The address of a server on `host`, to open on this machine."""
    shown = "127.0.0.1" if host in ANY else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}"


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken, and name a free one.

    Raises:
        UserError: it is taken, or the host is not this machine.
    """
    try:
        if _free(host, port):
            return
        later = range(port + 1, min(port + 1 + _PORTS_TRIED, 65536))
        other = next((candidate for candidate in later if _free(host, candidate)), None)
    except OSError as error:
        raise UserError(
            f"host={host}: {error.strerror or error}: use host=127.0.0.1 for this machine alone, "
            "or one of its own addresses for others too"
        ) from error
    suggestion = f"port={other} is free" if other else "choose another with port=N"
    raise UserError(f"port={port} on {host} is taken or reserved: {suggestion}")


def _free(host: str, port: int) -> bool:
    """Whether one can listen there now.

    Raises:
        OSError: The host is unknown or not an address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the server does: a port whose last connections are closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True
