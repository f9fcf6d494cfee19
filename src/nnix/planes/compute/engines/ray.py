"""Ray, through its foreman (daemons/ray/foreman.py): lines of JSON over a socket, one connection for as long as both live."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnix.planes.compute.engines import Down, Gang, Refused, env_of
from nnix.planes.compute.place.values import Together

DEVICE = "device"
"""what Ray calls a device, of whatever make: a pool has one type of them"""
STRATEGIES: Mapping[Together, str] = {Together.NODE: "STRICT_PACK", Together.DOMAIN: "PACK", Together.POOL: "PACK"}
ANSWER_SECONDS = 5.0


class Ray:
    """Gangs in the Ray behind `path`."""

    look_seconds = 0.1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line: Any = None

    def start(self, gang: Gang) -> None:
        if gang.image is not None:
            raise Refused(
                f"image {gang.image}: there is no container runtime beside this Ray; give an entry that runs on the machine itself"
            )
        self._ask(
            do="start",
            gang=gang.name,
            ranks=gang.ranks,
            argv=list(gang.argv),
            env=dict(gang.env),
            own=[dict(env_of(gang, rank)) for rank in range(gang.ranks)],
            folder=str(gang.folder),
            records=str(gang.records),
            resources={DEVICE: gang.devices},
            strategy=STRATEGIES[gang.together],
        )

    def seen(self) -> Mapping[str, bool]:
        return {name: said["state"] != "ended" for name, said in self._ask(do="list")["gangs"].items()}

    def stop(self, name: str, grace_seconds: float) -> None:
        self._ask(do="stop", gang=name, grace_seconds=grace_seconds)

    def forget(self, name: str) -> None:
        self._ask(do="forget", gang=name)

    def _ask(self, **asked: Any) -> dict[str, Any]:
        try:
            if self._line is None:
                self._line = connected(self._path).makefile("rwb")
            self._line.write(json.dumps(asked).encode() + b"\n")
            self._line.flush()
            said = json.loads(self._line.readline() or b'{"error": "the foreman has gone"}')
        except (OSError, ValueError) as error:
            self._line = None
            raise Down(f"Ray is not up: {error}") from None
        if "error" in said:
            self._line = None
            raise Down(f"Ray's foreman: {said['error']}")
        return dict(said)


def connected(path: Path) -> socket.socket:
    """A connection to the socket at `path`, however long that is: a socket's address has room for 107 octets (unix(7)), so its folder goes by a number.
    Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    return connection
