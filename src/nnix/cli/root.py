"""The composition root: where planes, drivers, clock, state folder and machines are put together.

Nothing below this package knows where state lives, who is at the keyboard or what time it is; all of it enters here.
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import hashlib
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nnix.daemons.bird import BirdDriver
from nnix.daemons.document import DocumentDriver, Find
from nnix.daemons.frr import FRR
from nnix.daemons.gobgp import GOBGP
from nnix.daemons.iproute import IPROUTE
from nnix.daemons.knot import knot
from nnix.daemons.nftables import NFTABLES
from nnix.daemons.nsd import nsd
from nnix.daemons.openbgpd import OpenbgpdDriver
from nnix.daemons.program import ProgramDriver
from nnix.daemons.ray import RAY
from nnix.daemons.secrets import Secrets
from nnix.daemons.slurm import SLURM
from nnix.daemons.sshd import SSHD
from nnix.daemons.unbound import unbound
from nnix.hosts import rootless
from nnix.hosts.namespace import NamespaceHost, dial_in_namespace
from nnix.kernel.apply import Office
from nnix.kernel.change import Book
from nnix.kernel.drive import World
from nnix.kernel.ledger import Ledger, open_ledger
from nnix.kernel.loop import DriveLock
from nnix.kernel.plane import Plane, kinds_of
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.vault import Vault
from nnix.kernel.world import Driver, Host, Unreachable
from nnix.lab.latency import LATENCY
from nnix.lab.plane import PLANE as LAB
from nnix.lab.wires import WiresDriver, shaken
from nnix.planes import PLANES
from nnix.planes.members.kinds import Machine, Reach
from nnix.planes.naming import serve
from nnix.planes.naming.compile import HEALTH_TABLE

if TYPE_CHECKING:  # a third of a second to import, and most commands reach no machine over SSH
    from nnix.hosts.ssh import SshHost

NEW_OBJECTS_AT_ONCE = 50_000
NAMING_FOLDER = Path(serve.__file__).parent
PACKAGE = NAMING_FOLDER.parent.parent
ALL_PLANES: tuple[Plane, ...] = (*PLANES, LAB)
KINDS: Mapping[str, type[Resource]] = kinds_of(ALL_PLANES)

T = TypeVar("T")


HERALD = ProgramDriver(
    "herald",
    "nnix.planes.naming.serve",
    {f"nnix/planes/naming/{each}.py": NAMING_FOLDER / f"{each}.py" for each in ("ask", "health", "serve")},
    f"ip -4 route flush table {HEALTH_TABLE} 2>/dev/null; ip -6 route flush table {HEALTH_TABLE} 2>/dev/null; true",
)

GUARD = ProgramDriver(
    "guard",
    "nnix.planes.naming.guard",
    {f"nnix/planes/naming/{each}.py": NAMING_FOLDER / f"{each}.py" for each in ("anchored", "ask", "guard", "transfer")},
)

COUNTER = ProgramDriver(
    "counter",
    "nnix.planes.naming.counting",
    {f"nnix/planes/naming/{each}.py": NAMING_FOLDER / f"{each}.py" for each in ("ask", "counting", "dnstap", "tally")},
)


COMPUTE = "planes/compute"
JOBS = ProgramDriver(
    "jobs",
    "nnix.planes.compute.serve",
    {
        f"nnix/{COMPUTE}/{each}.py": PACKAGE / f"{COMPUTE}/{each}.py"
        for each in (
            "serve",
            "meter",
            "states",
            *(f"engines/{engine}" for engine in ("__init__", "ray", "slurm", "kubernetes")),
            *(f"place/{part}" for part in ("__init__", "arrays", "values", "mix", "decide", "fleet", "queue", "pool")),
        )
    },
)


SHELF = ProgramDriver("shelf", "nnix.lab.shelf", {"nnix/lab/shelf.py": PACKAGE / "lab/shelf.py"})


def rtr_driver(secrets: Secrets) -> ProgramDriver:
    """The RTR server (planes/trust/serve.py), which needs no more of nnix than its own folder and what records are made of."""
    rtr = PACKAGE / "planes/trust/rtr"
    empty = PACKAGE / "planes/trust/__init__.py"
    parts = ("__init__", "kernel/__init__", "kernel/resource", "kernel/rule", "planes/trust/__init__", "planes/trust/serve")
    files = {f"nnix/{each}.py": PACKAGE / f"{each}.py" for each in parts}
    files |= {"nnix/planes/__init__.py": empty, **{f"nnix/planes/trust/rtr/{each.name}": each for each in sorted(rtr.glob("*.py"))}}
    python = f"{sys.prefix}/bin/python3"
    return ProgramDriver(
        "rtr",
        "nnix.planes.trust.serve",
        files,
        pulse="state/status.json",
        needs=("numpy", "pydantic_core"),
        interpreter=python,
        secrets=secrets,
    )


def drivers(prefix: str, secrets: Path, find: Find = lambda source, pinned: None) -> dict[str, Driver]:
    """All drivers, in the order in which one machine is built up: filters before the interfaces that they guard, then daemons. First those
    that need longest until they speak; last OpenBGPD, which tries again only after a minute where nobody listens yet, and who asks daemons.

    `secrets` is the folder in which the operator's secrets are, and `find` knows documents by name; drivers fill them in.
    """
    known = Secrets(secrets)
    names: tuple[Driver, ...] = (GUARD, knot(known), nsd(known), unbound(known))
    bird, openbgpd = BirdDriver(secrets=known), OpenbgpdDriver(secrets=known)
    ours: tuple[Driver, ...] = (HERALD, COUNTER, JOBS, SHELF)
    payloads: tuple[Driver, ...] = (DocumentDriver(find), rtr_driver(known))
    everyone: tuple[Driver, ...] = (
        *(WiresDriver(prefix), NFTABLES, IPROUTE, LATENCY, SSHD, FRR),
        *(*payloads, *names, RAY, SLURM, GOBGP, bird, openbgpd, *ours),
    )
    return {each.name: each for each in everyone}


def state_folder() -> Path:
    """$NNIX_STATE; else /var/lib/nnix for root and ~/.local/state/nnix for everybody else."""
    given = os.environ.get("NNIX_STATE")
    if given:
        return Path(given).expanduser().absolute()
    return Path("/var/lib/nnix") if os.geteuid() == 0 else Path.home() / ".local/state/nnix"


def clock() -> datetime:
    return datetime.now(UTC)


def who() -> str:
    """Who is at the keyboard, as far as the system knows."""
    with suppress(KeyError, OSError, ImportError):
        return os.environ.get("SUDO_USER") or getpass.getuser()
    return f"uid {os.getuid()}"


@dataclass(frozen=True)
class ExchangeMachines:
    """Hosts of one exchange: namespaces of this machine, or machines over SSH. @NAME is the lab's own hand in namespace NAME."""

    snapshot: Callable[[], Snapshot]
    state: Path
    homes: Path
    prefix: str
    _hosts: dict[tuple[str, Machine | None], Host]
    _over_network: list[SshHost]

    def host(self, machine: str) -> Host:
        declared = self.snapshot().get(Machine, machine)
        found = self._hosts.get((machine, declared))
        if found is None:
            found = self._hosts[machine, declared] = self._made(machine, declared)
        return found

    def _made(self, machine: str, declared: Machine | None) -> Host:
        home = self.homes / machine
        if machine == "@lab":
            return NamespaceHost(machine, None, home)
        if machine.startswith("@"):
            return NamespaceHost(machine, f"{self.prefix}{machine[1:]}", home)
        if declared is None or declared.reach is Reach.NAMESPACE:
            return NamespaceHost(machine, f"{self.prefix}{machine}", home)
        host = self._over_ssh(declared)
        self._over_network.append(host)
        return host

    def elsewhere(self, machine: str) -> bool:
        """Whether it is a machine of its own, not a namespace of this one."""
        declared = self.snapshot().get(Machine, machine)
        return declared is not None and declared.reach is Reach.SSH and declared.address is not None

    def _over_ssh(self, machine: Machine) -> SshHost:
        from nnix.hosts.ssh import SshHost

        if machine.address is None:  # a lab's machine: its server runs in its namespace, and we made its keys
            server = self.homes / f"@{machine.name}" / "sshd" / machine.name
            public = server / "host_key.pub"
            try:
                host_key = public.read_text().strip()
            except OSError:
                raise Unreachable(f"{machine.name}: its SSH server in the lab has not been started yet") from None
            return SshHost(
                machine.name,
                address="127.0.0.1",
                port=machine.port,
                key=operator_key_file(self.state),
                host_key=host_key,
                home=str(self.homes / machine.name),
                dial=lambda: dial_in_namespace(f"{self.prefix}{machine.name}", "127.0.0.1", machine.port),
            )
        key = self.state / "secrets" / (machine.key or "secret:ssh-operator").removeprefix("secret:")
        if not key.exists():
            raise Unreachable(f"{machine.name}: the private key {machine.key or 'secret:ssh-operator'} is not at {key}")
        return SshHost(
            machine.name,
            address=machine.address,
            port=machine.port,
            user=machine.user,
            key=key,
            host_key=machine.host_key,
            home=machine.home,
        )

    async def close(self) -> None:
        for host in self._over_network:
            await host.close()


def operator_key_file(state: Path) -> Path:
    """The private key with which machines are entered, unless they name another."""
    return state / "secrets" / "ssh-operator"


def suit_interpreter() -> None:
    """Tune the interpreter to what is done here: many small records that stay. The collector of cycles looks at new objects after every 700 by
    default, and hardly ever finds one that can go; of an order it takes a twentieth."""
    gc.set_threshold(NEW_OBJECTS_AT_ONCE)


class Setting:
    """One state folder, and everything that hangs on it. Opened lazily, so that pure commands need no state at all."""

    def __init__(self, state: Path, ledger_url: str | None) -> None:
        suit_interpreter()
        self.state = state
        self._ledger_url = ledger_url
        default = state == Path("/var/lib/nnix")
        self.prefix = "nnix-" if default else f"nnix{hashlib.sha256(str(state).encode()).hexdigest()[:4]}-"

    @property
    def homes(self) -> Path:
        """Where the folders of this machine's own hosts stand."""
        return rootless.HOMES if rootless.inside() else self.state / "hosts"

    @property
    def runs(self) -> Path:
        """Where validators run: their users must be able to enter, and may not walk through an ordinary user's home."""
        return rootless.HOMES.parent / "validators" if rootless.inside() else self.state / "trust" / "runs"

    @cached_property
    def ledger(self) -> Ledger:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open_ledger(self._ledger_url or str(self.state / "ledger.db"), self.state / "keys")

    @property
    def begun(self) -> bool:
        """Whether there is a ledger to read."""
        return self._ledger_url is not None or (self.state / "ledger.db").exists()

    @cached_property
    def book(self) -> Book:
        return Book(self.ledger, KINDS)

    @cached_property
    def vault(self) -> Vault:
        return Vault(self.state / "vault")

    @cached_property
    def machines(self) -> ExchangeMachines:
        return ExchangeMachines(lambda: self.book.model().snapshot, self.state, self.homes, self.prefix, {}, [])

    @cached_property
    def world(self) -> World:
        return World(
            machines=self.machines,
            drivers=drivers(self.prefix, self.state / "secrets", self.document),
            ground=lambda machine: machine.startswith("@"),
            shaken=shaken,
            guards=frozenset({NFTABLES.name}),
            # zebra takes along what EVPN had put beside our own entries of a group, and the kernel knows no difference.
            unsettled={FRR.name: frozenset({IPROUTE.name})},
            dawdling=frozenset({GOBGP.name}),  # which first calls its neighbours 5 to 10 s after it was started, whatever it is told
            elsewhere=self.machines.elsewhere,
        )

    @property
    def options(self) -> list[str]:
        """The options of the command line that make another process see the same."""
        return ["--state", str(self.state), *(["--ledger", self._ledger_url] if self._ledger_url else [])]

    def remember(self, folder: Path) -> None:
        """Keep in mind from which folder the exchange was applied."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.state / "folder").write_text(str(folder.absolute()))

    @property
    def folder(self) -> Path | None:
        """The folder from which the exchange was applied last, if it is there."""
        try:
            found = Path((self.state / "folder").read_text())
        except OSError:
            return None
        return found if found.is_dir() else None

    def accepted(self, source: str) -> Path:
        """Where the newest document is kept that the gate has accepted for `source`."""
        return self.state / "accepted" / source

    def document(self, source: str, pinned: str | None) -> bytes | None:
        """The document `pinned`; or the newest that was accepted for `source`, and before there is one, what the last change has pinned."""
        if pinned is None:
            try:
                return self.accepted(source).read_bytes()
            except OSError:
                pinned = self.book.model().evidence.get(f"file:{source}")
        return self.vault.get(pinned) if pinned else None

    @cached_property
    def office(self) -> Office:
        return Office(self.book, self.vault, ALL_PLANES, self.world, clock, who())

    @property
    def has_operator_key(self) -> bool:
        """Whether the operator's SSH key was made already."""
        return operator_key_file(self.state).exists()

    def operator_key(self) -> bytes:
        """The public half of the operator's SSH key, which is made on first use."""
        import asyncssh

        path = operator_key_file(self.state)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = asyncssh.generate_private_key("ssh-ed25519", comment="nnix")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(fresh.export_private_key())
        return asyncssh.read_private_key(path).export_public_key()

    @cached_property
    def lock(self) -> DriveLock:
        return DriveLock(self.state / "drive.lock")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run asynchronous work to its end, and let go of what it opened."""

        async def whole() -> T:
            try:
                return await work
            finally:
                await self.machines.close()

        return asyncio.run(whole())
