"""RTR over SSH: what sshd runs as its subsystem rpki-rtr (RFC 8210, 9.1).

    Subsystem rpki-rtr /usr/bin/python3 -IS …/nnix/planes/trust/rtr/subsystem.py ADDRESS PORT

sshd knows who may enter; the server's TCP listener, on loopback, knows RTR. This joins the two and understands neither. It imports
nothing of nnix, so that a router's connection costs one small process and no more.
"""

from __future__ import annotations

import os
import select
import socket
import sys

OCTETS = 1 << 16


def join(link: socket.socket, ends: tuple[int, int]) -> None:
    """Copy `ends`[0] to the link and the link to `ends`[1], until one of them ends. Reads no more than it can pass on."""
    inward, outward = ends
    while True:
        ready, _, _ = select.select([inward, link.fileno()], [], [])
        if inward in ready:
            octets = os.read(inward, OCTETS)
            if not octets:
                return
            link.sendall(octets)
        if link.fileno() in ready:
            octets = link.recv(OCTETS)
            if not octets:
                return
            view = memoryview(octets)
            while view:
                view = view[os.write(outward, view) :]


def main(arguments: list[str]) -> int:
    """Join standard input and output with the server at ADDRESS PORT."""
    if len(arguments) != 2:
        print("usage: subsystem.py ADDRESS PORT", file=sys.stderr)
        return 2
    try:
        with socket.create_connection((arguments[0], int(arguments[1])), timeout=10) as link:
            link.settimeout(None)
            join(link, (0, 1))
    except OSError as error:
        print(f"rpki-rtr: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
