"""What a gate lets pass, on real daemons and real zones: the root of 2026, its next 84 versions, and the cases of RFC 8976."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import os
import re
import secrets as chance
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nnix.daemons.knot import knot
from nnix.daemons.nsd import nsd
from nnix.daemons.secrets import Secrets
from nnix.daemons.unbound import unbound
from nnix.hosts.namespace import NamespaceHost, inside
from nnix.kernel.world import Driver, Failed
from nnix.planes.naming import knot as knot_spelling
from nnix.planes.naming import nsd as nsd_spelling
from nnix.planes.naming import unbound as unbound_spelling
from nnix.planes.naming.compile import GatePolicy, GateZone, Key, NodePolicy, ResolverPolicy, Server
from nnix.planes.naming.knot import zone_file
from nnix.planes.naming.read import followed, refusals, serials
from nnix.planes.naming.unbound import followed_file
from tests.lab.registry import DNS, HiddenPrimary, Registry, primary, serial_set

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not DNS.is_dir(), reason="the shared data are not beside this checkout")]

T = TypeVar("T")
PRIMARY, STRICT, LAX, NODE = (ip_address(f"127.0.0.{last}") for last in (1, 2, 3, 4))
HUGE_PAGES_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
KEY = Key("key.", "hmac-sha256", "@SECRET:tsig@")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[NamespaceHost]:
    name = f"nnz{os.getpid() % 100000}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    there = Path(f"/run/netns/{name}").stat().st_ino
    try:
        yield NamespaceHost("z", name, tmp_path / "home")
    finally:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str((process / "ns/net").readlink()) == f"net:[{there}]":
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "tsig").write_bytes(base64.b64encode(chance.token_bytes(32)))
    return Secrets(folder)


def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def gate(name: str, address: Any, *, dnssec: bool, zonemd: bool, nodes: tuple[Server, ...] = (), origin: str = ".") -> bytes:
    zone = GateZone(origin, (Server("registry", ((PRIMARY, 53),), KEY),), dnssec, zonemd, ())
    return knot_spelling.spell_gate(GatePolicy(name, (address,), (zone,), nodes, KEY, None, ())).encode()


def ask(host: NamespaceHost, server: Any, *question: str) -> str:
    return run(host.run(["kdig", "+retry=0", "+time=2", f"@{server}", *question])).out


def serial(host: NamespaceHost, server: Any, origin: str = ".") -> int:
    words = ask(host, server, "+short", origin, "SOA").split()
    return int(words[2]) if len(words) == 7 else 0


def refused(host: NamespaceHost, name: str) -> dict[str, str]:
    """What the gate's log says that it refused, as `nnix status` reads it."""
    path = f"knot/{name}/log"
    return refusals((run(host.get([path]))[path] or b"").decode())


def real_root() -> list[str]:
    with gzip.open(DNS / "lab-root-2026082201.zone.gz", "rt") as file:
        return [line.rstrip("\n") for line in file if not line.startswith(";")]


def unsigned_delegation(lines: list[str]) -> str:
    """A top-level domain of the real root that has no DS."""
    rows = [line.split() for line in lines]
    signed = {row[0] for row in rows if row[2] == "DS"}
    return next(row[0] for row in rows if row[2] == "NS" and row[0] != "." and row[0] not in signed)


def test_a_flipped_ns_of_an_unsigned_delegation_is_refused_by_zonemd_and_passes_dnssec_alone(host: NamespaceHost, secrets: Secrets) -> None:
    """RFC 8976, 1.1: no signature covers NS of a delegation. Both gates take the genuine root; one record is changed on the way."""
    genuine = real_root()
    victim = unsigned_delegation(genuine)
    flipped = list(genuine)
    where = next(n for n, line in enumerate(genuine) if line.split()[0] == victim and line.split()[2] == "NS")
    flipped[where] = f"{victim} 172800 NS ns.attacker.example."
    content = primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."])
    registry = HiddenPrimary(host, secrets, content)

    def lay(lines: list[str]) -> None:
        run(registry.remove())
        run(registry.publish({".": "\n".join(lines) + "\n"}))

    def gates() -> None:
        for name, address, zonemd in (("strict", STRICT, True), ("lax", LAX, False)):
            run(knot(secrets).drive(host, name, None))
            run(knot(secrets).drive(host, name, gate(name, address, dnssec=True, zonemd=zonemd)))

    lay(genuine)
    gates()
    until(lambda: serial(host, STRICT) == serial(host, LAX) == 2026082201, 10, "both gates take the genuine zone")
    lay(flipped)
    gates()
    until(lambda: serial(host, LAX) == 2026082201, 10, "DNSSEC alone lets it pass")
    assert "ns.attacker.example." in ask(host, LAX, "+norec", victim, "NS")
    until(lambda: "." in refused(host, "strict"), 10, "the digest does not fit")
    assert refused(host, "strict")["."].startswith("ZONEMD, verification failed")
    assert serial(host, STRICT) == 0


def test_what_is_refused_later_leaves_the_last_good_version_served(host: NamespaceHost, secrets: Secrets) -> None:
    """The gate is given a forged higher serial: it says why it refuses, and goes on with what it has; so does the node behind it."""
    genuine = real_root()
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [(str(STRICT), 53)], ["."]))
    node = Server("node", ((NODE, 53),), KEY)
    run(registry.publish({".": "\n".join(genuine) + "\n"}))
    run(knot(secrets).drive(host, "strict", gate("strict", STRICT, dnssec=True, zonemd=True, nodes=(node,))))
    policy = NodePolicy("node", (), (NODE,), (NODE,), Server("strict", ((STRICT, 53),), KEY), (".",), None, 0, True, None, None, ())
    run(nsd(secrets).drive(host, "node", nsd_spelling.spell(policy).encode()))
    until(lambda: serial(host, NODE) == 2026082201, 15, "the node has the zone")
    forged = [line.replace("2026082201 1800", "2026082202 1800", 1) for line in genuine]
    run(registry.publish({".": "\n".join(forged) + "\n"}))
    until(lambda: "." in refused(host, "strict"), 10, "the forged version is refused")
    assert (serial(host, PRIMARY), serial(host, STRICT), serial(host, NODE)) == (2026082202, 2026082201, 2026082201)


def test_a_gate_that_was_killed_serves_its_last_version_without_any_primary(host: NamespaceHost, secrets: Secrets) -> None:
    """From its journal, verified again; so a cut from the registry and a restart together lose nothing."""
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    content = gate("strict", STRICT, dnssec=True, zonemd=True)
    run(registry.publish({".": "\n".join(real_root()) + "\n"}))
    run(knot(secrets).drive(host, "strict", content))
    until(lambda: serial(host, STRICT) == 2026082201, 10, "the gate has the zone")
    run(registry.remove())
    os.kill(int((Path(host.home) / "knot/strict/knotd.pid").read_text()), signal.SIGKILL)
    run(knot(secrets).drive(host, "strict", content))
    until(lambda: serial(host, STRICT) == 2026082201, 10, "the gate has it still")


def test_a_key_that_is_wrong_brings_nothing(host: NamespaceHost, secrets: Secrets) -> None:
    """TSIG, RFC 8945: whoever has not the secret is given no zone."""
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    run(registry.publish({".": "\n".join(real_root()) + "\n"}))
    (secrets.folder / "tsig").write_bytes(base64.b64encode(b"another secret, of the same size"))
    run(knot(secrets).drive(host, "strict", gate("strict", STRICT, dnssec=True, zonemd=True)))
    until(lambda: "." in refused(host, "strict"), 10, "the transfer fails")
    assert serial(host, STRICT) == 0


def canonical(host: NamespaceHost, secrets: Secrets, text: str) -> str:
    """The zone as Knot reads it out again: names in canonical order and form (RFC 4034, 6), each record in one spelling."""
    reader = HiddenPrimary(host, secrets, primary("127.0.0.9", 53, (KEY.name, KEY.secret), [], ["."]), "reader")
    run(reader.publish({".": text}))
    done = run(host.run(["knotc", "-s", f"{host.home}/knot/reader/knot.sock", "zone-read", "."]))
    run(reader.remove())
    assert done.status == 0, done.err
    return done.out


def test_the_next_84_versions_of_the_root_replay_serial_by_serial(host: NamespaceHost, secrets: Secrets) -> None:
    """IXFR (RFC 1995) of real changes, from one Knot over another to NSD: the gate is told 84 steps, each with just what was removed and added
    in it, and what the node has in the end is byte for byte the real zone of 2026-08-22 in canonical form. (The archive has lost most
    signatures, so nothing is verified here.)"""
    with gzip.open(DNS / "root-2026072001.zone.gz", "rt") as file:
        lines = {_folded(line) for line in file if line.strip() and not line.startswith(";")}
    with gzip.open(DNS / "root-changes-2026-07-20.jsonl.gz", "rt") as file:
        changes = [json.loads(line) for line in file]
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    node = Server("node", ((NODE, 53),), KEY)
    run(registry.publish({".": _file(lines)}))
    run(knot(secrets).drive(host, "strict", gate("strict", STRICT, dnssec=False, zonemd=False, nodes=(node,))))
    policy = NodePolicy("node", (), (NODE,), (NODE,), Server("strict", ((STRICT, 53),), KEY), (".",), None, 0, True, None, None, ())
    run(nsd(secrets).drive(host, "node", nsd_spelling.spell(policy).encode()))
    until(lambda: serial(host, NODE) == 2026072001, 15, "the first version is served")
    for change in changes:
        lines = (lines - {_folded(each) for each in change["remove"]}) | {_folded(each) for each in change["add"]}
        run(registry.change({".": _file(lines)}))
    refresh = ["knotc", "-s", f"{host.home}/knot/strict/knot.sock", "-b", "zone-refresh", "."]
    assert run(host.run(refresh)).status == 0
    until(lambda: serial(host, NODE) == 2026082201, 20, "the last version is at the node")

    secret = (secrets.folder / "tsig").read_text()
    told = ask(host, PRIMARY, "-b", str(NODE), "-y", f"hmac-sha256:{KEY.name}:{secret}", ".", "IXFR=2026072001", "+noall", "+answer")
    steps = _steps(told)
    assert len(steps) == len(changes) == 84
    for (removed, added), change in zip(steps, changes, strict=True):
        gone, come = _spelled(change["remove"]), _spelled(change["add"])
        assert (_spelled(removed), _spelled(added)) == (gone - come, come - gone)  # some lines only moved within the file

    place = f"{host.home}/nsd/node"
    done = run(host.run(["sh", "-c", f"cd {place} && nsd-control -c nsd.conf write ."]))
    until((Path(place) / "root.zone").exists, 10, "the zone is written")
    end = (Path(place) / "root.zone").read_text()
    there, wanted_in_the_end = canonical(host, secrets, end), canonical(host, secrets, _file(lines))
    assert there.count("\n") > 20_000, done.err
    assert there == wanted_in_the_end
    log = (run(host.get(["knot/strict/log"]))["knot/strict/log"] or b"").decode()
    assert (len(re.findall(r"AXFR, incoming, .* finished", log)), len(re.findall(r"IXFR, incoming, .* finished", log))) == (1, 1)


def _steps(told: str) -> list[tuple[list[str], list[str]]]:
    """(removed, added) of each step of an incremental transfer, the SOAs with them (RFC 1995, 4)."""
    rows = [line for line in told.splitlines() if line.strip() and not line.startswith(";")]
    parts: list[list[str]] = []
    for row in rows[1:]:  # the first SOA says where it leads
        if "SOA" in row.split()[2:4]:
            parts.append([])
        parts[-1].append(row)
    if len(parts) % 2:
        parts.pop()  # and so does the last
    return list(zip(parts[::2], parts[1::2], strict=True))


def _spelled(rows: list[str]) -> set[str]:
    """Records in one spelling: without class, hexadecimal and base64 without blanks, names in lower case."""
    found = set()
    for row in rows:
        owner, ttl, *rest = row.split()
        kind, *rdata = rest[1:] if rest[0] == "IN" else rest
        blob = {"RRSIG": 8, "ZONEMD": 3, "DS": 3, "DNSKEY": 3}.get(kind)
        data = rdata if blob is None else [*rdata[:blob], "".join(rdata[blob:])]
        found.add(" ".join([owner.lower(), ttl, kind, *(each if kind in ("RRSIG", "DNSKEY") else each.lower() for each in data)]))
    return found


def _folded(line: str) -> str:
    """One record on one line, single blanks."""
    return " ".join(line.split())


def _file(lines: set[str]) -> str:
    """SOA first, as a zone file wants it."""
    return "\n".join(sorted(lines, key=lambda each: (" SOA " not in f" {each} " or "RRSIG" in each, each))) + "\n"


EXPECTED = json.loads((DNS / "zonemd/expected.json").read_text()) if DNS.is_dir() else {"generate": [], "verify": []}
# what the RFC's test says → what Unbound's log says, from 1.17.1 on
VERDICTS = {
    "ZONEMD verification successful": "ZONEMD verification successful",
    "no ZONEMD present": "ZONEMD absent and that is not allowed by config",
    "incorrect digest": "incorrect digest",
    "verify DNSKEY RRset with trust anchor failed: have trust anchor, but zone has no DNSKEY": "verify DNSKEY RRset with trust anchor failed",
}


@pytest.mark.parametrize("case", EXPECTED["verify"], ids=lambda case: f"{case['file']}-{'anchor' if case['anchor'] else 'bare'}")
def test_unbound_judges_the_cases_of_rfc_8976_as_expected(host: NamespaceHost, secrets: Secrets, case: dict[str, str]) -> None:
    """At the time that the case names, with its anchor."""
    text = f"""server:
    directory: "@HOME@"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    verbosity: 4
    interface: 127.0.0.1
    val-override-date: "{case["at"]}"
{f'    trust-anchor: "{case["anchor"]}"' if case["anchor"] else ""}
remote-control:
    control-enable: yes
    control-interface: /proc/self/cwd/unbound.ctl
    control-use-cert: no
auth-zone:
    name: "{case["zone"]}"
    zonefile: "{case["file"]}"
    zonemd-check: yes
    zonemd-reject-absence: yes
"""
    run(host.put({f"unbound/case/{case['file']}": (DNS / "zonemd" / case["file"]).read_bytes()}))
    run(unbound(secrets).drive(host, "case", text.encode()))

    def said() -> str:
        return (run(host.get(["unbound/case/log"]))["unbound/case/log"] or b"").decode()

    until(lambda: re.search(VERDICTS[case["result"]], said()), 5, f"{case['result']}\n{said()}")
    good = case["result"] == "ZONEMD verification successful"
    assert ("status: NOERROR" in ask(host, PRIMARY, case["zone"], "SOA")) == good


@pytest.mark.parametrize("case", EXPECTED["generate"], ids=lambda case: f"{case['file']}-{case['algorithm']}")
def test_the_gate_knows_the_digests_of_rfc_8976(host: NamespaceHost, secrets: Secrets, case: dict[str, Any]) -> None:
    """The digest of the appendix is put into the zone in place of those there: the gate's daemon takes it, and refuses it with one digit changed."""
    origin = case["zone"]
    file = (DNS / "zonemd" / case["file"]).read_text()
    bare = re.sub(
        rf"^({re.escape(origin)}\.)?[ \t]+([0-9]+[ \t]+)?IN[ \t]+ZONEMD[ \t]+\d+[ \t]+1[ \t]+[12][ \t]+\([^)]*\)\n", "", file, flags=re.M
    )
    serial_there = int(re.search(r"\b(20[0-9]{7,8})\b", file)[1])  # type: ignore[index]
    wrong = case["digest"][:-1] + ("0" if case["digest"][-1] != "0" else "1")
    for name, digest in (("right", case["digest"]), ("wrong", wrong)):
        text = f"""server:
    rundir: "."
    listen: 127.0.0.1@53
log:
  - target: stdout
    any: info
database:
    storage: "db"
zone:
  - domain: "{origin}."
    file: "zone"
    storage: "."
    semantic-checks: soft
    zonemd-verify: on
"""
        record = f"{origin}. 86400 IN ZONEMD {serial_there} 1 {case['algorithm']} {digest}\n"
        run(host.put({f"knot/{name}/zone": f"{bare.rstrip()}\n{record}".encode()}))
        run(knot(secrets).drive(host, name, text.encode()))
        until(lambda: bool(refused(host, name)) or serial(host, PRIMARY, origin), 5, "a verdict")  # noqa: B023
        assert serial(host, PRIMARY, origin) == (serial_there if name == "right" else 0), refused(host, name)
        run(knot(secrets).drive(host, name, None))


def test_what_a_version_lacks_is_said_by_name(host: NamespaceHost, secrets: Secrets) -> None:
    """At check, so before anything is touched; and what is not lacking is accepted."""
    (secrets.folder / "dot").write_text("-----BEGIN")
    common = {"zones": (".",), "responses_per_second": 100, "cookies": True, "cookie_secret": None, "names": ()}
    server = Server("strict", ((STRICT, 53),), KEY)
    dot = NodePolicy("node", (), (NODE,), (NODE,), server, catalog=None, certificate="@SECRETFILE:dot@", **common)  # type: ignore[arg-type]
    catalog = NodePolicy("node", (), (NODE,), (NODE,), server, catalog="catalog.", certificate=None, **common)  # type: ignore[arg-type]
    plain = NodePolicy("node", (), (NODE,), (NODE,), server, catalog=None, certificate=None, **common)  # type: ignore[arg-type]
    drivers: dict[str, tuple[Any, Callable[[NodePolicy], str]]] = {
        "knot": (knot(secrets), knot_spelling.spell_node),
        "nsd": (nsd(secrets), nsd_spelling.spell),
    }
    from nnix.daemons.nameserver import lacks, version

    for name, policy, feature in (("knot", dot, "dot"), ("nsd", dot, "dot"), ("knot", catalog, "catalog"), ("nsd", catalog, "catalog")):
        driver, spell = drivers[name]
        here = run(version(driver.make, host))
        said = run(driver.check(host, spell(policy).encode()))
        lacking = lacks(driver.make, here)
        assert said == (f"{driver.make.program} {here} cannot: {lacking[feature]}" if feature in lacking else ""), (name, feature)
    for driver, spell in drivers.values():
        assert run(driver.check(host, spell(plain).encode())) == ""


@pytest.mark.parametrize("make", ["nsd", "knot"])
def test_who_shows_a_valid_cookie_is_not_limited_and_who_does_not_is(host: NamespaceHost, secrets: Secrets, make: str) -> None:
    """RFC 7873, 5.2.3: the limit is against forged addresses, and a cookie says that this one is not. 150 of one question at once, at 20 a second."""
    (secrets.folder / "cookies").write_text("000102030405060708090a0b0c0d0e0f")
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    run(registry.publish({".": "\n".join(SMALL_ROOT) + "\n"}))
    policy = NodePolicy(
        "node", (), (NODE,), (NODE,), Server("strict", ((PRIMARY, 53),), KEY), (".",), None, 20, True, "@SECRET:cookies@", None, ()
    )
    driver, spell = {"nsd": (nsd(secrets), nsd_spelling.spell), "knot": (knot(secrets), knot_spelling.spell_node)}[make]
    run(driver.drive(host, "node", spell(policy).encode()))
    until(lambda: serial(host, NODE) == 1, 15, "the node has the zone")

    def whole(cookie: bytes) -> tuple[int, bytes]:
        """How many came back whole, and the cookie that was given last."""
        option = b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie
        query = b"\0\7\0\0\0\1\0\0\0\0\0\1" + b"\3lab\0\0\2\0\1" + b"\0\0\x29\4\xd0\0\0\0\0" + len(option).to_bytes(2, "big") + option
        asking = inside(f"nnz{os.getpid() % 100000}", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        asking.bind(("127.0.0.50", 0))
        asking.settimeout(0.5)
        for _ in range(150):
            asking.sendto(query, (str(NODE), 53))
        count, given = 0, b""
        with contextlib.suppress(TimeoutError):
            while True:
                answer = asking.recv(2048)
                count += not answer[2] & 2
                given = answer[at + 4 : at + 28] if (at := answer.rfind(b"\0\x0a\0\x18")) > 0 else given
        asking.close()
        return count, given

    _, cookie = whole(b"\1\2\3\4\5\6\7\x08")
    assert len(cookie) == 24
    assert whole(cookie)[0] == 150
    assert whole(b"\1\2\3\4\5\6\7\x09")[0] < 60


@pytest.mark.skipif(
    not HUGE_PAGES_SWITCH.exists() or "[never]" in HUGE_PAGES_SWITCH.read_text(), reason="this kernel gives nobody transparent huge pages"
)
def test_a_zone_lies_in_huge_pages_where_the_kernel_gives_them(host: NamespaceHost, secrets: Secrets) -> None:
    """Without a rate limit, whose table would be another thing that does."""
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    run(registry.publish({".": "\n".join(real_root()) + "\n"}))
    policy = NodePolicy("node", (), (NODE,), (NODE,), Server("strict", ((PRIMARY, 53),), KEY), (".",), None, 0, False, None, None, ())
    run(knot(secrets).drive(host, "node", knot_spelling.spell_node(policy).encode()))
    until(lambda: serial(host, NODE), 15, "the node has the zone")
    pid = (run(host.get(["knot/node/knotd.pid"]))["knot/node/knotd.pid"] or b"").decode().strip()
    memory = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    assert int(memory["AnonHugePages"].split()[0]) >= 2048, memory


SMALL_ROOT = [". 60 SOA ns.lab. h.lab. 1 1800 900 604800 60", ". 60 NS ns.lab.", "lab. 60 NS ns.lab.", "ns.lab. 60 A 127.0.0.9"]


def test_a_resolver_follows_a_roll_of_the_roots_key_and_forgets_the_revoked_one(
    host: NamespaceHost, secrets: Secrets, tmp_path: Path
) -> None:
    """RFC 5011, with three seconds of hold-down in place of thirty days: the new key is pending, then valid; the old one is revoked and gone from
    the zone, and the resolver, which was told of neither, goes on; a root that only a key signs which nobody announced is not taken."""
    registry = Registry(tmp_path / "registry", key_ttl_seconds=2)
    hidden = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [(str(STRICT), 53)], ["."]))
    fetching = Server("resolver", ((NODE, 53), (PRIMARY, 53)), None)  # Unbound fetches from 127.0.0.1
    zone = GateZone(".", (Server("registry", ((PRIMARY, 53),), KEY),), True, True, (fetching,))
    number = iter(range(2, 99))

    def publish() -> int:
        """A new version of the root, signed with the keys that the registry has now."""
        serial_now = next(number)
        run(hidden.publish({".": registry.signed(".", [serial_set(SMALL_ROOT[0], serial_now), *SMALL_ROOT[1:]])}))
        return serial_now

    publish()
    (first,) = registry.anchors(".")
    run(knot(secrets).drive(host, "strict", knot_spelling.spell_gate(GatePolicy("strict", (STRICT,), (zone,), (), KEY, None, ())).encode()))
    policy = ResolverPolicy(
        "resolver", (NODE,), ("127.0.0.0/8",), Server("strict", ((STRICT, 53),), None), (first,), 60, None, (), follow_anchors=True
    )
    rehearsed = "server:\n    permit-small-holddown: yes\n    add-holddown: 3\n    cache-max-ttl: 1\n"
    text = unbound_spelling.spell(policy).replace("server:\n", rehearsed, 1).replace("prefetch: yes", "prefetch: no")
    run(unbound(secrets).drive(host, "resolver", text.encode()))

    def states() -> dict[str, str]:
        path = f"unbound/resolver/{followed_file((first,))}"
        ask(host, NODE, "lab", "DS")  # whoever is asked nothing looks for no key
        return followed((run(host.get([path]))[path] or b"").decode())

    def root_here() -> str:
        return run(host.run(["sh", "-c", f"cd {host.home}/unbound/resolver && unbound-control -c unbound.conf list_auth_zones"])).out

    until(lambda: states() == {first: "valid"}, 15, "the declared key is valid")
    registry.add_key(".")
    (second,) = set(registry.anchors(".")) - {first}
    publish()
    until(lambda: states() == {first: "valid", second: "addpend"}, 40, "the new one is pending")
    until(lambda: states() == {first: "valid", second: "valid"}, 40, "the new one is valid")
    registry.revoke(".", first.split()[0])
    publish()
    until(lambda: states().get(first) == "revoked", 40, "the old one is revoked")
    registry.drop_key(".", first.split()[0])
    last = publish()
    until(lambda: f"serial {last}" in root_here(), 20, "the root is signed by the new one alone, and taken")
    assert "NOERROR" in ask(host, NODE, "lab", "DS", "+dnssec")
    registry.add_key(".")
    registry.drop_key(".", second.split()[0])
    publish()
    until(lambda: "serial" not in root_here(), 20, "the root of a key that nobody announced is dropped")
    assert states()[second] in ("valid", "missing")


def has(host: NamespaceHost, driver: Any, feature: str) -> None:
    """Skip where the daemon of this Debian lacks it."""
    from nnix.daemons.nameserver import lacks, version

    if feature in (lacking := lacks(driver.make, run(version(driver.make, host)))):
        pytest.skip(lacking[feature])


def test_knot_answers_over_tls_and_over_quic(host: NamespaceHost, secrets: Secrets) -> None:
    """RFC 7858, RFC 9250: with one certificate, at one port."""
    has(host, knot(secrets), "dot")
    has(host, knot(secrets), "doq")
    key, chain = secrets.folder / "key", secrets.folder / "chain"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=ns",
         "-keyout", key, "-out", chain], check=True, capture_output=True)  # fmt: skip
    (secrets.folder / "dot").write_bytes(key.read_bytes() + chain.read_bytes())
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    run(registry.publish({".": "\n".join(real_root()) + "\n"}))
    gate_server = Server("strict", ((PRIMARY, 53),), KEY)
    policy = NodePolicy("node", (), (NODE,), (NODE,), gate_server, (".",), None, 0, True, None, "@SECRETFILE:dot@", (), quic=True)
    run(knot(secrets).drive(host, "node", knot_spelling.spell_node(policy).encode()))
    until(lambda: serial(host, NODE) == 2026082201, 15, "the node has the zone")
    assert "TLS session (TLS1.3)" in ask(host, NODE, "+tls", "com", "DS")
    assert "QUIC session" in ask(host, NODE, "+quic", "com", "DS")


@pytest.mark.parametrize("make", ["nsd", "knot"])
def test_a_node_takes_its_zones_from_the_gates_catalog(host: NamespaceHost, secrets: Secrets, make: str) -> None:
    """RFC 9432: no zone stands in its configuration, and it serves what the gate's catalog names."""
    driver = {"nsd": nsd, "knot": knot}[make](secrets)
    has(host, driver, "catalog")
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], ["."]))
    run(registry.publish({".": "\n".join(real_root()) + "\n"}))
    zone = GateZone(".", (Server("registry", ((PRIMARY, 53),), KEY),), True, True, ())
    node = Server("node", ((NODE, 53),), KEY)
    policy = GatePolicy("strict", (STRICT,), (zone,), (node,), KEY, "catalog.nnix.", ())
    run(knot(secrets).drive(host, "strict", knot_spelling.spell_gate(policy).encode()))
    until(lambda: serial(host, STRICT) == 2026082201, 15, "the gate has the zone")
    gate_server = Server("strict", ((STRICT, 53),), KEY)
    there = NodePolicy("node", (), (NODE,), (NODE,), gate_server, (), "catalog.nnix.", 0, True, None, None, ())
    spell = {"nsd": nsd_spelling.spell, "knot": knot_spelling.spell_node}[make]
    run(driver.drive(host, "node", spell(there).encode()))
    until(lambda: serial(host, NODE) == 2026082201, 20, "the node has it by the catalog")


def test_a_secret_that_is_missing_is_a_complaint_and_none_is_in_an_artifact(host: NamespaceHost, secrets: Secrets) -> None:
    """By name, at check; drive refuses as well. The artifact holds only the reference."""
    content = gate("strict", STRICT, dnssec=True, zonemd=True)
    secret = (secrets.folder / "tsig").read_bytes()
    assert secret not in content
    (secrets.folder / "tsig").unlink()
    driver: Driver = knot(secrets)
    assert "secret:tsig" in run(driver.check(host, content))
    with pytest.raises(Failed, match="secret:tsig"):
        run(driver.drive(host, "strict", content))


def test_zone_files_have_names_that_tell(host: NamespaceHost) -> None:
    """The root has no label to be called by."""
    assert (zone_file("."), zone_file("CN."), zone_file("com.cn.")) == ("root.zone", "cn.zone", "com.cn.zone")


@pytest.mark.parametrize("make", ["nsd", "knot"])
def test_a_gate_that_was_killed_and_has_lost_all_takes_no_zone_from_the_nodes(host: NamespaceHost, secrets: Secrets, make: str) -> None:
    """With the registry away as well. A member of a catalog that comes back as another is thrown away by whoever has it (RFC 9432, 5.4): so it must be the same one.
    What is added afterwards comes, and what is taken out of the model goes."""
    driver = {"nsd": nsd, "knot": knot}[make](secrets)
    has(host, driver, "catalog")
    lines = {each: f"{each} 60 SOA ns.test. h.test. 7 60 60 604800 60\n{each} 60 NS ns.test.\n" for each in ("zj.", "new.")}
    registry = HiddenPrimary(host, secrets, primary(str(PRIMARY), 53, (KEY.name, KEY.secret), [], list(lines)))
    run(registry.publish(lines))
    node, server = Server("node", ((NODE, 53),), KEY), Server("strict", ((STRICT, 53),), KEY)

    def hosts(*origins: str) -> None:
        zones = tuple(GateZone(each, (Server(f"r-{each[:-1]}", ((PRIMARY, 53),), KEY),), False, False, ()) for each in origins)
        policy = GatePolicy("strict", (STRICT,), zones, (node,), KEY, "catalog.nnix.", ())
        run(knot(secrets).drive(host, "strict", knot_spelling.spell_gate(policy).encode()))

    def catalog() -> int:
        said = run(host.run(["knotc", "-s", f"{host.home}/knot/strict/knot.sock", "zone-status"])).out
        return serials(said).get("catalog.nnix.", 0)

    hosts("zj.")
    there = NodePolicy("node", (), (NODE,), (NODE,), server, (), "catalog.nnix.", 0, True, None, None, ())
    spell = {"nsd": nsd_spelling.spell, "knot": knot_spelling.spell_node}[make]
    run(driver.drive(host, "node", spell(there).encode()))
    until(lambda: serial(host, NODE, "zj.") == 7, 20, "the node has it by the catalog")

    before = catalog()
    place = Path(host.home) / "knot" / "strict"
    for name in (place.parent / "primary", place):
        os.kill(int((name / "knot.pid").read_text()), signal.SIGKILL)
    until(lambda: catalog() == 0, 10, "the gate is dead")
    known = time.time()
    until(lambda: time.time() > known + 1.1, 10, "another second, by which labels and serials could differ")
    subprocess.run(["rm", "-rf", place / "db"], check=True)
    hosts("zj.")
    until(lambda: catalog() > before, 15, f"the gate's catalog is newer than {before}")
    asked = [serial(host, NODE, "zj.") for _ in range(3) if run(host.run(["sh", "-c", "sleep 0.7"])).status == 0]
    assert asked == [7, 7, 7], asked
    run(registry.publish(lines))
    hosts("zj.", "new.")
    until(lambda: serial(host, NODE, "new.") == 7, 20, "the new one is at the node")
    hosts("new.")
    until(lambda: serial(host, NODE, "zj.") == 0, 20, "the old one is gone")
