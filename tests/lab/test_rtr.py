"""The RTR server over real sockets: BIRD, FRR and rtrclient take it; nobody can make it forget, lie, wait or grow."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from nnix.planes.trust.rtr import subsystem
from nnix.planes.trust.rtr.routers import STATUS, read_status, rows
from tests.unit.trust.rtr.shadow import Shadow

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the daemons want root")]

DEADLINE_SECONDS = 20.0
SOURCE = Path(__file__).parents[2]
NNIX = Path(sys.executable).parent / "nnix"


def until(claim: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Look until `claim` holds; fail with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def vrp(number: int) -> dict[str, Any]:
    return {"asn": 64512 + number % 1000, "prefix": f"10.{number >> 8 & 255}.{number & 255}.0/24", "maxLength": 24}


def vrp6(number: int) -> dict[str, Any]:
    return {"asn": 64512, "prefix": f"2001:db8:{number:x}::/48", "maxLength": 64}


def held(document: Sequence[dict[str, Any]]) -> set[tuple[int, bytes, int, int, int]]:
    """The VRPs as a shadow holds them."""
    found = set()
    for row in document:
        address, _, length = row["prefix"].partition("/")
        six = ":" in address
        packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
        found.add((6 if six else 4, packed, int(length), row["maxLength"], row["asn"]))
    return found


class Server:
    """The server in a process of its own, with one folder for everything."""

    def __init__(self, home: Path, tables: dict[str, dict[str, Any]]) -> None:
        self.home, self.tables = home, tables
        self.log = home / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        listeners = self.begin()
        until(lambda: self.words().count("listens on") == listeners, self.words())
        return self

    def begin(self) -> int:
        """Start it, without waiting; how many listeners it shall have."""
        tables = [
            {
                "name": name,
                "file": str(self.home / f"{name}.json"),
                "listen": [{"address": "127.0.0.1", "port": 0}],
                "notify_seconds_min": 0,
                **more,
            }
            for name, more in self.tables.items()
        ]
        configuration = self.home / "caches.json"
        configuration.write_text(json.dumps({"state": str(self.home / "state"), "look_seconds": 0.1, "tables": tables}))
        self.log.write_bytes(b"")
        (self.home / "state" / STATUS).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "nnix.planes.trust.serve", str(configuration)], stderr=log, cwd=SOURCE)
        return sum(len(each["listen"]) for each in tables)

    def words(self) -> str:
        return self.log.read_text()

    def until_word(self, word: str) -> None:
        until(lambda: word in self.words(), f"{word!r} wanted, but\n{self.words()}")

    def port(self, table: str = "vrps", transport: str = "tcp") -> int:
        found = re.search(rf"^{table}: listens on \S+ port (\d+) \({transport}\)$", self.words(), re.M)
        assert found is not None
        return int(found[1])

    def write(self, vrps: Sequence[dict[str, Any]], table: str = "vrps", built: float | None = None, **parts: Any) -> None:
        """As a relying party does: beside its place, then moved there."""
        when = datetime.datetime.fromtimestamp(time.time() if built is None else built, datetime.UTC)
        self.put(json.dumps({"metadata": {"buildtime": when.isoformat()}, "roas": vrps, **parts}).encode(), table)

    def put(self, octets: bytes, table: str = "vrps") -> None:
        beside = self.home / f"{table}.json.new"
        beside.write_bytes(octets)
        beside.replace(self.home / f"{table}.json")

    def status(self, table: str = "vrps") -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = next(each for each in read_status(self.home / "state")["tables"] if each["name"] == table)
            return found
        return {}

    def until_state(self, state: str, table: str = "vrps", **more: Any) -> dict[str, Any]:
        wanted = {"state": state, **more}
        until(lambda: wanted.items() <= self.status(table).items(), f"{wanted} wanted, but\n{self.words()}")
        return self.status(table)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        assert self.process.wait(10) == (0 if how == signal.SIGTERM else -how)

    def memory_octets(self) -> int:
        """Proportional set of the server and its loader, and what it holds in memory files."""
        assert self.process is not None
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(), re.M)
        assert found is not None
        return int(found[1]) * 1024

    def cpu_seconds(self) -> float:
        assert self.process is not None
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


class Router:
    """The shadow with a socket."""

    def __init__(self, port: int, version: int = 1, link: socket.socket | None = None) -> None:
        self.link = link or socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
        self.shadow = Shadow(version)

    def pdu(self) -> bytes:
        """The next PDU; empty when the server has closed."""
        head = self.octets(8)
        return head and head + self.octets(int.from_bytes(head[4:], "big") - 8)

    def octets(self, number: int) -> bytes:
        found = b""
        while len(found) < number:
            more = self.link.recv(number - len(found))
            if not more:
                return b""
            found += more
        return found

    def answer(self) -> bytes:
        """PDUs up to End of Data, or a single one that is no data."""
        found = [self.pdu()]
        while found[0][1:2] == b"\x03" and found[-1][1:2] != b"\x07":
            found.append(self.pdu())
            assert found[-1], "the server closed within an answer"
        return b"".join(found)

    def ask(self) -> bytes:
        self.link.sendall(self.shadow.say())
        return self.answer()

    def sync(self) -> Shadow:
        if not self.shadow.hear(self.ask()):
            assert self.shadow.hear(self.ask())
        return self.shadow

    def notified(self) -> int:
        """The serial of a Serial Notify, which must be what comes next."""
        pdu = self.pdu()
        assert pdu[1] == 0, pdu.hex()
        return int.from_bytes(pdu[8:12], "big")

    def close(self) -> None:
        self.link.close()


def error_code(pdu: bytes) -> int:
    assert pdu[1] == 10, pdu.hex()
    return int.from_bytes(pdu[2:4], "big")


@pytest.fixture()
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, {"vrps": {}})
    yield from _running(made)


def _running(made: Server) -> Iterator[Server]:
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


# routers of other people


class Bird:
    """BIRD with two ROA tables and one cache."""

    def __init__(self, home: Path, remote: str, tables: str = "") -> None:
        self.home = home
        configuration = home / "bird.conf"
        configuration.write_text(
            f'log "{home}/bird.log" all;\nrouter id 192.0.2.1;\nroa4 table r4;\nroa6 table r6;\n{tables}\nprotocol device {{}}\n'
            f"protocol rpki cache {{ roa4 {{ table r4; }}; roa6 {{ table r6; }}; {remote} retry keep 1; refresh keep 30; expire keep 600; }}\n"
        )
        self.process = subprocess.Popen(["bird", "-f", "-c", str(configuration), "-s", str(home / "bird.ctl")])

    def roas(self) -> int:
        said = subprocess.run(["birdc", "-s", str(self.home / "bird.ctl"), "show route count"], capture_output=True, text=True, check=False)
        return sum(map(int, re.findall(r"^(\d+) of \d+ routes for \d+ networks in table r[46]$", said.stdout, re.M)))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed")
def test_bird_follows_every_change_and_keeps_all_when_the_document_is_lost(server: Server) -> None:
    """A change reaches it by Serial Notify and Serial Query, within the refresh interval; lost documents reach it not at all."""
    document = [*map(vrp, range(300)), *map(vrp6, range(20))]
    server.write(document)
    server.start().until_state("serving", vrps=320)
    bird = Bird(server.home, f"remote 127.0.0.1 port {server.port()};")
    try:
        until(lambda: bird.roas() == 320, "BIRD has not everything")
        server.write(document[7:])
        until(lambda: bird.roas() == 313, "BIRD has not heard of the change")
        server.write([])
        server.until_state("held", vrps=313)
        (server.home / "vrps.json").unlink()
        until(lambda: "cannot be found" in server.status()["reason"], server.words())
        assert bird.roas() == 313
        server.write([*document[7:], vrp(5000)])
        until(lambda: bird.roas() == 314, "BIRD has not heard of the new document")
        [peer] = server.status()["peers"]
        assert peer["version"] in {1, 2}
        assert re.search(r"error|corrupt|duplicate", (server.home / "bird.log").read_text(), re.I) is None
    finally:
        bird.stop()


def bird_version() -> tuple[int, ...]:
    """Of the BIRD that is found first, none where there is none."""
    if shutil.which("bird") is None:
        return ()
    done = subprocess.run(["bird", "--version"], capture_output=True, text=True, check=False)
    return tuple(map(int, re.findall(r"\d+", done.stdout + done.stderr)[:3]))


@pytest.mark.skipif(bird_version() < (2, 16), reason="no BIRD that speaks version 2 of RTR (2.16) is installed")
def test_a_bird_that_speaks_version_2_takes_aspas_and_their_changes(server: Server) -> None:
    """Added, changed and withdrawn; beside VRPs, over one session, of version 2 and nothing less; also after kill -9 of the cache, without a reset."""
    document = [*map(vrp, range(300)), *map(vrp6, range(20))]
    first, second = {"customer_asid": 64500, "providers": [64501, 64502]}, {"customer_asid": 64510, "providers": [0]}
    server.write(document, aspas=[first, second])
    listen = {"listen": [{"address": "127.0.0.1", "port": free_port()}]}
    server.tables["vrps"] = listen
    server.start().until_state("serving", vrps=320, aspas=2)
    server_port = listen["listen"][0]["port"]
    bird = Bird(server.home, f"aspa {{ table at; }}; min version 2; remote 127.0.0.1 port {server_port};", "aspa table at;")

    def aspas() -> dict[str, str]:
        said = subprocess.run(
            ["birdc", "-s", str(server.home / "bird.ctl"), "show route table at all"], capture_output=True, text=True, check=False
        )
        return dict(re.findall(r"^(?:AS)?(\d+) +\[cache.*\n(?:\s.*\n)*?\s+aspa_providers: (.*)$", said.stdout, re.M))

    try:
        until(lambda: bird.roas() == 320 and set(aspas()) == {"64500", "64510"}, "BIRD has not everything")
        assert aspas()["64500"].split() == ["64501", "64502"]
        until(lambda: [peer["version"] for peer in server.status()["peers"]] == [2], "it does not speak version 2")
        server.write(document, aspas=[{**first, "providers": [64502, 64503]}])
        until(
            lambda: {each: said.split() for each, said in aspas().items()} == {"64500": ["64502", "64503"]},
            "BIRD has not heard of the change",
        )
        held = server.until_state("serving", aspas=1)
        server.stop(signal.SIGKILL)
        server.start().until_state("serving", session=held["session"], serial=held["serial"], digest=held["digest"])
        server.write(document[7:], aspas=[first, second])
        until(lambda: bird.roas() == 313 and set(aspas()) == {"64500", "64510"}, "BIRD has not come back", 40)
        assert re.search(r"error code|corrupt|duplicate|unknown record", (server.home / "bird.log").read_text(), re.I) is None
    finally:
        bird.stop()


def md5_key(link: socket.socket, address: str, key: bytes) -> None:
    """Sign what goes to an IPv4 peer (tcp(7), TCP_MD5SIG)."""
    told = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(address)).ljust(128, b"\0") + struct.pack(
        "=HHI80s", 0, len(key), 0, key
    )
    link.setsockopt(socket.IPPROTO_TCP, 14, told)


def has_md5() -> bool:
    with socket.socket() as link, contextlib.suppress(OSError):
        md5_key(link, "127.0.0.1", b"x")
        return True
    return False


@pytest.mark.skipif(not has_md5(), reason="this kernel has no TCP-MD5")
def test_who_signs_by_tcp_md5_is_served_and_nobody_else(tmp_path: Path) -> None:
    """RFC 8210, 9.3: without the key, or with another one, no connection comes about; a BIRD that can (2.17) takes it."""
    port = free_port()
    md5 = {"listen": [{"address": "127.0.0.1", "port": port, "transport": "md5"}], "md5": [{"prefix": "127.0.0.0/8", "key": "tide"}]}
    server = Server(tmp_path, {"vrps": md5})
    server.write([vrp(1), vrp(2)])
    for running in _running(server.start()):
        running.until_state("serving")
        for key in (b"", b"ebb"):
            with socket.socket() as stranger:
                stranger.settimeout(1)
                if key:
                    md5_key(stranger, "127.0.0.1", key)
                with pytest.raises(TimeoutError):
                    stranger.connect(("127.0.0.1", port))
        link = socket.socket()
        link.settimeout(DEADLINE_SECONDS)
        md5_key(link, "127.0.0.1", b"tide")
        link.connect(("127.0.0.1", port))
        assert Router(port, link=link).sync().vrps == held([vrp(1), vrp(2)])
        link.close()
        if bird_version() >= (2, 17):
            bird = Bird(tmp_path, f'remote 127.0.0.1 port {port}; transport tcp {{ authentication md5; password "tide"; }};')
            try:
                until(lambda bird=bird: bird.roas() == 2, "BIRD has not everything")  # type: ignore[misc]
            finally:
                bird.stop()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


FRR = Path("/usr/lib/frr/bgpd")


@pytest.mark.skipif(not list(Path("/usr/lib").glob("**/frr/modules/bgpd_rpki.so")), reason="frr-rpki-rtrlib is not installed")
def test_frr_takes_the_set_and_the_change(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    document = [*map(vrp, range(50)), *map(vrp6, range(5))]
    server.write(document)
    server.start().until_state("serving", vrps=55)
    home = tmp_path_factory.mktemp("frr")
    user = pwd.getpwnam("frr")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)
    os.chown(home, user.pw_uid, user.pw_gid)
    configuration = home / "frr.conf"
    configuration.write_text(
        f"rpki\n rpki polling_period 1\n rpki cache 127.0.0.1 {server.port()} preference 1\nexit\nrouter bgp 64500\n bgp router-id 192.0.2.1\n"
    )
    process = subprocess.Popen(
        [
            FRR,
            "-M",
            "rpki",
            "-Z",
            "-S",
            "-f",
            configuration,
            "-i",
            home / "pid",
            "--vty_socket",
            home,
            "-P",
            "0",
            "-p",
            "0",
            "-l",
            "127.0.0.1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def prefixes() -> int:
        said = subprocess.run(
            ["vtysh", "--vty_socket", home, "-d", "bgpd", "-c", "show rpki prefix-table"], capture_output=True, text=True, check=False
        )
        return len(re.findall(r"^\S+\s+\d+ -\s+\d+\s+\d+$", said.stdout, re.M))

    try:
        until(lambda: prefixes() == 55, "FRR has not everything", 40)
        server.write(document[3:])
        until(lambda: prefixes() == 52, "FRR has not heard of the change", 40)
    finally:
        process.terminate()
        process.wait(10)


def exported(home: Path, *where: str) -> set[tuple[str, int, int, int]]:
    """What rtrclient holds after its first synchronisation."""
    out = home / "exported.csv"
    subprocess.run(["rtrclient", "-e", "-t", "csv", "-o", out, *where], capture_output=True, check=True, timeout=DEADLINE_SECONDS)
    rows = [line.replace(" ", "").split(",") for line in out.read_text().splitlines()]
    return {(str(ip_address(row[0])), int(row[1]), int(row[2]), int(row[3])) for row in rows if len(row) == 4 and row[1].isdecimal()}


@pytest.mark.skipif(shutil.which("rtrclient") is None, reason="rtr-tools is not installed")
def test_rtrclient_holds_the_set(server: Server) -> None:
    document = [*map(vrp, range(300)), *map(vrp6, range(20))]
    server.write(document)
    server.start().until_state("serving", vrps=320)
    networks = [(ip_network(row["prefix"]), row["maxLength"], row["asn"]) for row in document]
    wanted = {(str(network.network_address), network.prefixlen, longest, asn) for network, longest, asn in networks}
    assert exported(server.home, "tcp", "127.0.0.1", str(server.port())) == wanted


class Sshd:
    """OpenSSH's server with the subsystem rpki-rtr, one key and one user."""

    def __init__(self, home: Path, rtr_port: int) -> None:
        home.mkdir()
        for name in ("host", "router"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (home / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/router.pub\nStrictModes no\n"
            f"PidFile none\nPasswordAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n"
            f"Subsystem rpki-rtr {sys.executable} -IS {subsystem.__file__} 127.0.0.1 {rtr_port}\n"
        )
        (home / "known_hosts").write_text(
            "".join(f"{name} {(home / 'host.pub').read_text()}" for name in ("127.0.0.1", f"[127.0.0.1]:{self.port}"))
        )
        self.home = home
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config"])
        until(self.answers, "sshd does not listen")

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture()
def sshd(server: Server) -> Iterator[Sshd]:
    server.write([*map(vrp, range(20_000)), *map(vrp6, range(20))])
    server.start().until_state("serving", vrps=20_020)
    made = Sshd(server.home / "ssh", server.port())
    yield made
    made.stop()


@pytest.mark.skipif(shutil.which("rtrclient") is None or not Path("/usr/sbin/sshd").exists(), reason="rtr-tools or sshd is not installed")
def test_ssh_carries_the_same_set(server: Server, sshd: Sshd) -> None:
    """RFC 8210, 9.1: the subsystem rpki-rtr. By rtrclient, since BIRD 2.0.12 reads no more than its first 4,096 octets over SSH."""
    over_ssh = exported(server.home, "ssh", "127.0.0.1", str(sshd.port), "root", str(sshd.home / "router"), str(sshd.home / "known_hosts"))
    assert len(over_ssh) == 20_020
    assert over_ssh == exported(server.home, "tcp", "127.0.0.1", str(server.port()))


@pytest.mark.skipif(
    b" 2.0." in subprocess.run(["bird", "--version"], capture_output=True, check=False).stderr, reason="BIRD 2.0 stops over SSH"
)
@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="sshd is not installed")
def test_a_newer_bird_takes_the_set_over_ssh(server: Server, sshd: Sshd) -> None:
    """BIRD 2.17.6 was seen to."""
    home = sshd.home
    (home / "bird.conf").write_text(
        "router id 192.0.2.1; protocol device {} roa4 table r4; roa6 table r6;\n"
        f'protocol rpki cache {{ roa4 {{ table r4; }}; roa6 {{ table r6; }}; remote "127.0.0.1" port {sshd.port}; transport ssh {{\n'
        f'  bird private key "{home}/router"; remote public key "{home}/known_hosts"; user "root"; }}; }}\n'
    )
    running = subprocess.Popen(["bird", "-f", "-c", home / "bird.conf", "-s", home / "bird.ctl"])
    try:

        def counted() -> str:
            argv = ["birdc", "-r", "-s", str(home / "bird.ctl"), "show", "route", "count"]
            return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

        until(lambda: "20000 of 20000 routes" in counted() and "20 of 20 routes" in counted(), "BIRD has not all of it", 60)
    finally:
        running.kill()
        running.wait()


# transports


def certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key, made = home / "key.pem", home / "certificate.pem"
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cache")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(secret, hashes.SHA256())
    )
    made.write_bytes(signed.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made, key


def test_tls_carries_the_same_set_to_routers_with_a_certificate_only(tmp_path: Path) -> None:
    """RFC 8210, 9.2."""
    made, key = certificate(tmp_path)
    listen = [{"address": "127.0.0.1", "port": 0, "transport": transport} for transport in ("tcp", "tls")]
    tls = {"certificate": str(made), "key": str(key), "client_ca": str(made)}
    server = Server(tmp_path, {"vrps": {"listen": listen, "tls": tls}})
    document = [*map(vrp, range(20_000)), *map(vrp6, range(300))]
    server.write(document)
    for running in _running(server.start()):
        running.until_state("serving", vrps=20_300)
        context = ssl.create_default_context(cafile=str(made))
        context.load_cert_chain(made, key)
        plain = socket.create_connection(("127.0.0.1", running.port(transport="tls")), timeout=DEADLINE_SECONDS)
        router = Router(0, 2, context.wrap_socket(plain, server_hostname="127.0.0.1"))
        assert router.sync().vrps == held(document)
        running.write(document[5:])
        assert router.notified() == running.until_state("serving", vrps=20_295)["serial"]
        assert router.sync().vrps == held(document[5:])
        assert router.shadow.partials == 1

        stranger = ssl.create_default_context(cafile=str(made))
        plain = socket.create_connection(("127.0.0.1", running.port(transport="tls")), timeout=DEADLINE_SECONDS)
        with pytest.raises((ssl.SSLError, OSError)), stranger.wrap_socket(plain, server_hostname="127.0.0.1") as refused:
            refused.sendall(Shadow(1).say())
            if not refused.recv(8):
                raise OSError("closed")


def test_two_tables_are_apart(tmp_path: Path) -> None:
    server = Server(tmp_path, {"vrps": {}, "irr": {"may_be_empty": True, "version_most": 1}})
    server.write([vrp(1), vrp(2)])
    server.write([vrp(3)], "irr")
    for running in _running(server.start()):
        running.until_state("serving")
        running.until_state("serving", "irr")
        first, other = Router(running.port()), Router(running.port("irr"))
        assert (first.sync().vrps, other.sync().vrps) == (held([vrp(1), vrp(2)]), held([vrp(3)]))
        running.write([], "irr")
        other.notified()
        assert other.sync().vrps == set()
        assert first.sync().vrps == held([vrp(1), vrp(2)])
        assert error_code(Router(running.port("irr"), 2).ask()) == 4


# what is true


def test_a_restart_goes_on_where_it_was_and_a_lost_history_begins_anew(server: Server) -> None:
    """Also after kill -9. A router in step is told so and gets nothing again; from a lost history it starts anew, without an error."""
    server.write([vrp(1), vrp(2)])
    server.start().until_state("serving", vrps=2)
    router = Router(server.port())
    shadow = router.sync()
    server.stop(signal.SIGKILL)
    server.start().until_state("serving", vrps=2, serial=shadow.serial)
    router.close()
    router = Router(server.port())
    router.shadow = shadow
    assert len(router.ask()) == 8 + 24

    server.stop()
    server.write([vrp(2), vrp(3)])
    server.start().until_state("serving", vrps=2, serial=((shadow.serial or 0) + 1) % 2**32)
    router = Router(server.port())
    router.shadow = shadow
    assert router.sync().vrps == held([vrp(2), vrp(3)])
    assert (shadow.partials, shadow.resets) == (1, 0)

    server.stop()
    kept = server.home / "state/vrps.history"
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    server.start().until_state("serving", vrps=2)
    assert "not trusted" in server.words()
    router = Router(server.port())
    router.shadow = shadow
    assert router.sync().vrps == held([vrp(2), vrp(3)])
    assert (shadow.partials, shadow.resets) == (1, 1)


def test_a_history_that_cannot_be_written_begins_a_session_that_a_restart_does_not_know(server: Server) -> None:
    """Otherwise the restart would give the same serial to another set."""
    server.write([vrp(1)])
    before = server.start().until_state("serving", vrps=1)
    router = Router(server.port())
    shadow = router.sync()
    (server.home / "state/vrps.new").mkdir()
    server.write([vrp(2)])
    assert router.octets(1) == b"", "the router is let go, as by a restart"
    until(lambda: server.status()["session"] != before["session"], server.words())
    router = Router(server.port())
    router.shadow = shadow
    assert router.sync().vrps == held([vrp(2)])
    (server.home / "state/vrps.new").rmdir()
    server.stop()
    server.write([vrp(3)])
    server.start()
    server.until_word(f"serial {(before['serial'] + 1) % 2**32}: 1 VRPs")
    router = Router(server.port())
    router.shadow = shadow
    assert router.sync().vrps == held([vrp(3)])
    assert shadow.resets == 2


ROW = b'{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8}'
LOST: list[tuple[str, bytes | None, str]] = [  # what became of the document, its octets, words that tell it
    ("gone", None, "cannot be found"),
    ("no octets", b"", "rtr.document-is-json"),
    ("cut off", b'{"roas": [' + ROW[:40], "rtr.document-is-json"),
    ("no VRP", b'{"roas": []}', "rtr.set-not-empty"),
    ("one wrong row", b'{"roas": [' + ROW + b", " + ROW.replace(b"0/8", b"1/8") + b"]}", "number 1 of roas"),
    ("a bomb", b"[" * 5_000_000, "nested too deeply"),
    ("from the future", b'{"metadata": {"generated": 9999999999}, "roas": [' + ROW + b"]}", "from now"),
]


def test_no_lost_or_wrong_document_is_taken_for_truth_and_after_its_time_there_is_no_data(tmp_path: Path) -> None:
    """The last good set is served on, and it is told why; when that is older than age_seconds_max, Error 2, which ends nothing."""
    server = Server(tmp_path, {"vrps": {"age_seconds_max": 60}})
    for running in _running(server.start()):
        router = Router(running.port())
        assert error_code(router.ask()) == 2, "nothing has been loaded yet"
        running.write([vrp(1)])
        good = running.until_state("serving", vrps=1)
        assert router.sync().vrps == held([vrp(1)])
        for name, octets, words in LOST:
            if octets is None:
                (tmp_path / "vrps.json").unlink()
            else:
                running.put(octets)
            seen = running.until_state("held")["reason"]
            assert words in seen, name
            assert running.status()["serial"] == good["serial"], name
            assert len(router.ask()) == 32, name
            running.write([vrp(1)])
            running.until_state("serving", serial=good["serial"])
        running.write([vrp(2)], built=time.time() - 58)
        assert router.notified() == (good["serial"] + 1) % 2**32
        assert router.sync().vrps == held([vrp(2)])
        running.put(b"")
        running.until_state("held")
        running.until_state("no data")
        assert error_code(router.ask()) == 2
        running.write([vrp(2)])
        running.until_state("serving")
        assert len(router.ask()) == 32, "it goes on with the same serial"


def test_a_document_without_a_date_is_as_old_as_its_file(tmp_path: Path) -> None:
    """Written again without a change it is young again, without a new serial: two validations may well conclude the same."""
    server = Server(tmp_path, {"vrps": {"age_seconds_max": 60}})
    file = tmp_path / "vrps.json"
    server.put(json.dumps({"roas": [vrp(1)]}).encode())
    for running in _running(server.start()):
        serial = running.until_state("serving")["serial"]
        os.utime(file, (time.time() - 61, time.time() - 61))
        running.until_state("no data")
        file.touch()
        running.until_state("serving", serial=serial)


def test_a_loader_that_is_killed_costs_nothing_but_the_document(server: Server) -> None:
    server.write([vrp(1)])
    server.start().until_state("serving", vrps=1)
    server.write([*map(vrp, range(200_000))])
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    until(lambda: bool(children.read_text().split()), "no loader")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    assert "signal 9" in server.until_state("held", vrps=1)["reason"]
    until(lambda: server.status()["state"] == "serving", "it is not tried again, though the file is the same", 60)


def test_a_reload_during_a_start_ends_nobody(server: Server) -> None:
    """SIGHUP to a server that still waits for the one before to let go of the folder."""
    server.write([vrp(1)])
    folder = server.home / "state"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.begin()
        server.until_word("waiting for it to end")
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
    server.until_state("serving", vrps=1)


def test_notifies_are_no_more_often_than_the_table_says(tmp_path: Path) -> None:
    """RFC 8210, 5.2: once a minute; here once in two seconds."""
    server = Server(tmp_path, {"vrps": {"notify_seconds_min": 2}})
    server.write([vrp(0)])
    for running in _running(server.start()):
        running.until_state("serving")
        router = Router(running.port())
        router.sync()
        for step in (1, 2, 3):
            running.write([vrp(step)])
            running.until_word(f"serial {((router.shadow.serial or 0) + step) % 2**32}:")
            if step == 1:
                assert router.notified() == ((router.shadow.serial or 0) + 1) % 2**32
                begun = time.monotonic()
        router.notified()
        assert 1.5 < time.monotonic() - begun < 4
        router.link.settimeout(1)
        with pytest.raises(TimeoutError):
            router.pdu()


# hostile peers


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """200,000 VRPs, 4 MB of PDUs: more than the sockets hold."""
    server = Server(tmp_path_factory.mktemp("large"), {"vrps": {"peers_max": 200, "peers_per_address_max": 50}})
    server.write([{**vrp(number & 0xFFFF), "asn": number} for number in range(200_000)])
    for running in _running(server.start()):
        running.until_state("serving")
        yield running


def seconds_to_everything(server: Server, source: str = "127.0.0.1") -> float:
    """How long an honest router takes for the full set, on a connection of its own."""
    begun = time.monotonic()
    link = socket.create_connection(("127.0.0.1", server.port()), DEADLINE_SECONDS, (source, 0))
    router = Router(0, 1, link)
    link.sendall(router.shadow.say())
    size = 8 + 200_000 * 20 + 24
    octets = bytearray()
    while len(octets) < size:
        more = link.recv(1 << 20)
        assert more, "the server closed"
        octets += more
    assert octets[-24:-22] == b"\x01\x07"
    router.close()
    return time.monotonic() - begun


GARBAGE = [
    b"GET / HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    bytes(4096),
    b"\xff" * 4096,
    struct.pack(">BBHI", 1, 2, 0, 2**32 - 1),
    struct.pack(">BBHI", 1, 10, 0, 2**32 - 1) + bytes(4096),
    struct.pack(">BBHI", 1, 10, 0, 65_535) + bytes(60_000),
    struct.pack(">BBHI", 2, 11, 256, 65_532) + bytes(60_000),
    struct.pack(">BBHI", 1, 4, 0, 20) * 100,
    struct.pack(">BBHII", 1, 1, 5, 12, 5)[:11],
]


def test_garbage_ends_its_own_connection_and_no_other(large: Server) -> None:
    """Whatever is sent, the answer is an Error Report or the end, and never more than was asked for."""
    honest = Router(large.port())
    honest.link.sendall(struct.pack(">BBHII", 1, 1, 1, 12, 0))
    assert honest.pdu()[1] == 8
    chance = random.Random(7)
    for octets in [*GARBAGE, *(chance.randbytes(chance.randrange(1, 300)) for _ in range(100))]:
        with socket.create_connection(("127.0.0.1", large.port()), timeout=DEADLINE_SECONDS) as link:
            with contextlib.suppress(OSError):
                link.sendall(octets)
                link.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(OSError):
                while more := link.recv(65_536):
                    said += more
            assert len(said) < 1000
            assert said[1:2] in {b"", b"\x0a"}
    honest.link.sendall(struct.pack(">BBHII", 1, 1, 1, 12, 0))
    assert honest.pdu()[1] == 8
    assert "Traceback" not in large.words() and "Error:" not in large.words()


FOREIGN = struct.pack(">BBHII", 1, 1, 1, 12, 0)  # a Serial Query of another cache's session


def test_who_does_not_read_or_asks_without_end_holds_up_nobody_and_takes_no_memory(large: Server) -> None:
    """40 that ask for everything and read nothing; 8 that flood Reset Queries; 8 that flood queries with short answers, which go out."""
    alone = min(seconds_to_everything(large) for _ in range(3))
    before = large.memory_octets()
    hostile: list[socket.socket] = []
    for index in range(56):
        link = socket.create_connection(("127.0.0.1", large.port()), DEADLINE_SECONDS, ("127.0.0.2" if index < 40 else "127.0.0.3", 0))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(Shadow(1).say() if index < 48 else FOREIGN)
        hostile.append(link)
    for index, link in enumerate(hostile[40:]):
        link.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                link.send((Shadow(1).say() if index < 8 else FOREIGN) * 8000)
    busy = min(seconds_to_everything(large) for _ in range(3))
    assert busy < alone + 1.0, f"{busy:.2f} s beside {alone:.2f} s"
    assert large.memory_octets() - before < 20_000_000
    spent = large.cpu_seconds()
    time.sleep(1.0)
    assert large.cpu_seconds() - spent < 0.5, "the server turns round on those who do not read"
    assert large.status()["state"] == "serving"
    for link in hostile:
        link.close()
    until(lambda: large.status()["peers"] == [], "the hostile are still there")


def test_ten_thousand_connections_leave_room_for_a_router(large: Server) -> None:
    """From many addresses, half of them silent, half half-open within a query; the honest router is served all the while."""
    seconds_to_everything(large)
    before = large.memory_octets()
    waits: list[float] = []

    async def flood() -> None:
        for start in range(0, 10_000, 250):
            links = [_hasty(large.port(), f"127.1.{index % 40}.1") for index in range(start, start + 250)]
            for index, link in enumerate(links):
                if link is not None and index % 2:
                    with contextlib.suppress(OSError):
                        link.send(b"\x01\x02\x00")
            if start % 2500 == 0:
                waits.append(await asyncio.to_thread(seconds_to_everything, large, "127.0.0.9"))
            for link in links:
                if link is not None:
                    link.close()

    asyncio.run(flood())
    assert len(waits) == 4 and max(waits) < 5.0
    assert large.memory_octets() - before < 30_000_000
    until(lambda: large.status()["peers"] == [], "connections are left over")
    assert large.status()["accepted"] >= 10_000
    assert "made room" in large.status()["last_gone"]["why"]
    links = [_hasty(large.port(), "127.2.0.1") for _ in range(80)]
    until(lambda: large.status()["turned_away"] == 30, "one address may have 50 connections")
    for link in links:
        if link is not None:
            link.close()


def _hasty(port: int, source: str) -> socket.socket | None:
    """A connection that is open when it returns; None when the server broke it off at once."""
    with contextlib.suppress(OSError):
        return socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS, (source, 0))
    return None


# who is there


def test_routers_are_shown_with_their_serial_and_how_far_they_are_behind(server: Server) -> None:
    server.write([vrp(1)])
    server.start().until_state("serving")
    first, second = Router(server.port(), 0), Router(server.port(), 2)
    first.sync()
    second.sync()
    server.write([vrp(2)])
    second.notified()
    second.sync()
    until(lambda: sorted(row.behind for row in rows(read_status(server.home / "state"), time.time())) == ["0", "1"], "not shown")
    seen = {row.version: row for row in rows(read_status(server.home / "state"), time.time())}
    assert (seen["0"].behind, seen["2"].behind) == ("1", "0")
    assert seen["2"].state == "serving"
    shown = subprocess.run([NNIX, "trust", "routers", server.home / "state"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0 and "serving" in shown.stdout and "127.0.0.1" in shown.stdout, shown.stdout + shown.stderr
    server.stop()
    later = list(rows(read_status(server.home / "state"), time.time() + 120))
    assert all("does not run" in row.state for row in later)
