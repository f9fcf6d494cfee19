"""A hosted top-level domain on a small exchange: a hidden primary, the gate, three anycast nodes of two makes, a resolver, all real."""

from __future__ import annotations

import base64
import contextlib
import re
import secrets as chance
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nnix.daemons.secrets import Secrets
from nnix.hosts.namespace import inside
from nnix.kernel.drive import converge
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.planes.naming.ask import name_at, wire
from nnix.planes.naming.compile import HEALTH_TABLE
from nnix.planes.naming.kinds import NameNode
from nnix.planes.naming.read import read
from tests.lab.exchange import SITES, Lab, frame, member, resource
from tests.lab.registry import DNS, HiddenPrimary, Registry, primary, real_root, serial_set

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not DNS.is_dir(), reason="the shared data are not beside this checkout")]

ANYCAST4, ANYCAST6 = "198.18.200.53", "3fff:200::53"
REGISTRY, GATE, RESOLVER = "203.0.113.101", "203.0.113.60", "203.0.113.70"
NODES = {"ns-east": ("203.0.113.61", "nsd"), "ns-south": ("203.0.113.62", "knot"), "ns-west": ("203.0.113.63", "nsd")}
TLD = [
    "lab. 300 SOA ns.lab. hostmaster.lab. 1 1800 900 604800 60",
    "lab. 300 NS ns.lab.",
    f"ns.lab. 300 A {ANYCAST4}",
    f"ns.lab. 300 AAAA {ANYCAST6}",
    "signed.lab. 300 NS ns.example.lab.",
    "unsigned.lab. 300 NS ns.example.lab.",
    "ns.example.lab. 300 A 192.0.2.1",
    'www.lab. 300 TXT "hello"',
]


RESPONSES_PER_SECOND = NameNode.model_fields["responses_per_second"].default


def station(name: str, address: str, site: str) -> list[Resource]:
    last = address.rpartition(".")[2]
    return [
        resource("Port", name, member="op", site=site, speed="10G"),
        resource("Session", name, member="op", lan="lan", port=name, v4=address, v6=f"2001:db8:1::{last}"),
    ]


def exchange(registry: Registry, root_anchors: list[str] | None = None) -> list[Resource]:
    made = [*frame(), *member(1, site="east"), *member(2, site="west")]
    made.append(resource("Member", "op", title={"en": "Operator of names"}, asn=64510, **{"class": "content"}))
    made += station("gate", GATE, "east") + station("resolver", RESOLVER, "south")
    made += [
        resource("TransferKey", "registry", key_name="registry.", secret="secret:tsig-registry"),
        resource("TransferKey", "nodes", key_name="nodes.", algorithm="hmac-sha512", secret="secret:tsig-nodes"),
        resource("NameGate", "gate", session="gate", key="nodes", catalog="catalog.nnix."),
        resource(
            "Anycast",
            "tld",
            member="op",
            prefixes=["198.18.200.0/24", "3fff:200::/48"],
            addresses=[ANYCAST4, ANYCAST6],
            cookie_secret="secret:cookies",
        ),
        resource("Resolver", "resolver", session="resolver", root="root", dot_certificate="secret:dot"),
    ]
    for name, origin in (("root", "."), ("lab", "lab.")):
        made.append(
            resource(
                "Zone",
                name,
                origin=origin,
                member="m1",
                gate="gate",
                primaries=[{"address": REGISTRY}],
                key="registry",
                anchors=(root_anchors if origin == "." else None) or registry.anchors(origin),
                lag_max="5s",
            )
        )
    for site, (name, (address, make)) in zip(SITES, NODES.items(), strict=True):
        made += station(name, address, site)
        dot = {"dot_certificate": "secret:dot"} if make == "nsd" else {}
        made.append(resource("NameNode", name, session=name, anycast="tld", gate="gate", daemon=make, catalog=make == "knot", **dot))
    return made


@dataclass
class Names:
    """The lab, and the registry's hand."""

    lab: Lab
    registry: Registry
    primary: HiddenPrimary
    serial: int = 1
    root_serial: int = 2026082201

    def status(self) -> dict[str, Status]:
        return {each.resource: each for each in self.lab.run(read(self.lab.snapshot, self.lab.setting.machines))}

    def ask(self, machine: str, server: str, *question: str) -> str:
        return self.lab.host_run(machine, "kdig", "+retry=2", "+time=5", f"@{server}", *question)

    def publish(self, extra: list[str] | None = None, *, life_seconds: int = 14 * 86400) -> int:
        """A new good version of lab., with its serial."""
        self.serial += 1
        lines = [serial_set(TLD[0], self.serial), *TLD[1:], *(extra or [])]
        self.lab.run(self.primary.publish({"lab.": self.registry.signed("lab.", lines, life_seconds)}))
        return self.serial

    def publish_root(self) -> int:
        """A new version of the root, signed with whatever keys the registry has now; with its serial."""
        self.root_serial += 1
        self.lab.run(self.primary.publish({".": self.registry.signed(".", root(self.registry, self.root_serial))}))
        return self.root_serial

    def said(self, node: str) -> dict[str, Any]:
        """What the node's herald wrote last."""
        return dict(self.status()[f"name-node/{node}"].facts or {})

    def announced(self) -> set[str]:
        """The nodes that announce, by what stands in their kernels."""
        routes = {name: self.lab.host_run(name, "ip", "route", "show", "table", str(HEALTH_TABLE)) for name in NODES}
        return {name for name, said in routes.items() if "198.18.200.0/24" in said}

    def all_well(self) -> bool:
        return all(each.good for each in self.status().values())

    def serving(self, serial: int) -> bool:
        """Whether every node has that version of lab."""
        return all(self.said(node).get("zones", {}).get("lab.", {}).get("serial") == serial for node in NODES)

    def facts(self) -> str:
        """What a reader of a failure needs: who announces by kernel, herald and BIRD, and how each came there."""
        told = [f"announced in the kernel: {sorted(self.announced())}"]
        for node in NODES:
            home = self.lab.setting.machines.host(node).home
            told += [node, f"  {self.said(node)}"]
            told.append(self.lab.host_run(node, "sh", "-c", f"tail -n 8 {home}/herald/{node}/log; cat /proc/loadavg"))
            told.append(self.lab.host_run(node, "birdc", "-r", "-s", f"{home}/bird/{node}/bird.ctl", "show", "protocols"))
        told += ["resolver", self.lab.host_run("resolver", "ip", "route", "show", ANYCAST4.rpartition(".")[0] + ".0/24")]
        return "\n".join(told)


def root(registry: Registry, serial: int) -> list[str]:
    """The real root, with lab. delegated to the anycast service."""
    real = real_root()
    delegation = ["lab. 86400 NS ns.lab.", f"ns.lab. 86400 A {ANYCAST4}", f"ns.lab. 86400 AAAA {ANYCAST6}"]
    return [serial_set(real[0], serial), *real[1:], *delegation, *(f"lab. 86400 DS {each}" for each in registry.anchors("lab."))]


BUSY_SECONDS = 120.0  # by when it must have come about, however busy the machine; a quiet one takes a few


def until(holds: Callable[[], object], what: str, tell: Callable[[], object] = lambda: "", seconds: float = BUSY_SECONDS) -> float:
    """Poll until it holds; how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}\n{tell()}"
        time.sleep(0.2)
    return time.monotonic() - started


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    state = tmp_path_factory.mktemp("naming")
    registry = Registry(tmp_path_factory.mktemp("registry"))
    kept = state / "secrets"
    kept.mkdir(parents=True)
    for name in ("tsig-registry", "tsig-nodes"):
        (kept / name).write_bytes(base64.b64encode(chance.token_bytes(32)))
    (kept / "cookies").write_text(chance.token_hex(16))
    tld = registry.signed("lab.", TLD)
    top = registry.signed(".", root(registry, 2026082201))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=ns.lab",
         "-keyout", kept / "key", "-out", kept / "dot"], check=True, capture_output=True)  # fmt: skip
    (kept / "dot").write_bytes((kept / "key").read_bytes() + (kept / "dot").read_bytes())
    lab = Lab(state)
    try:
        assert lab.apply(exchange(registry)).verified, lab.differences()
        content = primary(REGISTRY, 53, ("registry.", "@SECRET:tsig-registry@"), [(GATE, 53)], [".", "lab."])
        hidden = HiddenPrimary(lab.setting.machines.host("m1"), Secrets(kept), content)
        lab.run(hidden.publish({".": top, "lab.": tld}))
        made = Names(lab, registry, hidden)
        until(made.all_well, "all is served", made.status)
        until(lambda: made.announced() == set(NODES), "all announce", made.facts)
        yield made
        lab.run(hidden.remove())
    finally:
        assert lab.close() == []


def served_by(text: str) -> str:
    """Which node answered (NSID, RFC 5001)."""
    found = re.search(r"NSID: .*['\"(]+([a-z0-9-]+)['\")]+$", text, re.M)
    return found[1] if found else ""


def test_the_zone_comes_from_the_hidden_primary_to_every_node(names: Names) -> None:
    """Both makes, with and without the catalog (RFC 9432), serve what the gate verified."""
    for name, (address, _) in NODES.items():
        said = names.ask("resolver", address, "+nsid", "+dnssec", "www.lab", "TXT")
        assert '"hello"' in said, name
        assert served_by(said) == name, said
        assert "RRSIG" in said


def test_the_resolver_validates_on_a_root_of_its_own(names: Names) -> None:
    """AD on a signed name reached through the anycast service; the root came from the gate and was verified (RFC 8806, RFC 8976); a top-level
    domain that does not exist is known not to exist without asking anybody."""
    said = names.ask("m2", RESOLVER, "+dnssec", "www.lab", "TXT")
    assert '"hello"' in said
    assert re.search(r"Flags:.* ad", said), said
    assert names.status()["resolver/resolver"].facts == {"root": names.root_serial}
    assert "status: NXDOMAIN" in names.ask("m2", RESOLVER, "nosuchtld", "A")


def test_a_resolver_of_the_exchange_is_no_open_resolver(names: Names) -> None:
    """Who is not on its LAN is refused (BCP 140)."""
    names.lab.host_run("m2", "ip", "address", "add", "192.0.2.99/32", "dev", "lo")
    names.lab.host_run("resolver", "ip", "route", "add", "192.0.2.99/32", "via", "203.0.113.102")
    try:
        assert "status: REFUSED" in names.ask("m2", RESOLVER, "-b", "192.0.2.99", "www.lab", "TXT")
    finally:
        names.lab.host_run("resolver", "ip", "route", "delete", "192.0.2.99/32")
        names.lab.host_run("m2", "ip", "address", "delete", "192.0.2.99/32", "dev", "lo")


def test_questions_can_be_asked_over_tls(names: Names) -> None:
    """RFC 7858: at the resolver, and at the nodes whose daemon has it."""
    for server in (RESOLVER, NODES["ns-east"][0]):
        said = names.ask("m2", server, "+tls", "www.lab", "TXT")
        assert '"hello"' in said
        assert "TLS session (TLS1.3)" in said


def test_a_cookie_of_one_node_is_good_at_all_others(names: Names) -> None:
    """RFC 9018: the same server cookie for the same client, whichever make answers."""
    given = re.search(
        r"Server cookie: ([0-9A-F]{32})|COOKIE: ([0-9A-F]{48})",
        names.ask("m2", NODES["ns-east"][0], "+cookie=0102030405060708", "lab", "SOA"),
    )
    assert given is not None
    whole = "0102030405060708" + given[1] if given[1] else given[2]
    for name, (address, _) in NODES.items():
        said = names.ask("m2", address, f"+cookie={whole}", "lab", "SOA")
        assert whole[16:] in said.replace(" ", ""), (name, said)
        assert "BADCOOKIE" not in said


@pytest.mark.parametrize("node", ["ns-east", "ns-south"])
def test_a_flood_of_one_question_is_answered_in_part(names: Names, node: str) -> None:
    """RRL: of 3,000 of the same question as quickly as they can be asked, no more are answered whole than so many a second; the rest get nothing, or a
    truncated answer, which a real client follows over TCP; the same question of a client elsewhere is answered meanwhile."""
    asking = inside(f"{names.lab.setting.prefix}m2", lambda: _udp("203.0.113.102", 5400))
    asking.setblocking(False)
    query = b"\x00\x07\x01\x00\x00\x01" + bytes(6) + wire("www.lab.") + b"\x00\x10\x00\x01"
    whole = cut = 0
    started = time.monotonic()
    try:
        for number in range(3000):
            with contextlib.suppress(BlockingIOError):
                asking.sendto(query, (NODES[node][0], 53))
            with contextlib.suppress(BlockingIOError):
                while True:
                    answer = asking.recv(2048)
                    whole, cut = whole + (not answer[2] & 2), cut + bool(answer[2] & 2)
            if number == 1500:
                other = f"2001:db8:1::{NODES[node][0].rpartition('.')[2]}"  # a client of another network, which a LAN's /24 is not
                assert '"hello"' in names.ask("resolver", other, "www.lab", "TXT")
    finally:
        asking.close()
    assert cut > 0
    allowed = RESPONSES_PER_SECOND * (
        time.monotonic() - started + 6
    )  # Knot saves up four seconds' answers for a client who asked nothing before
    assert whole < min(allowed, 3000), (whole, cut, allowed)


def test_only_part_of_a_name_is_asked_for_on_the_way(names: Names) -> None:
    """QNAME minimisation (RFC 9156): the server of a delegation sees no more labels than it must."""
    asked: list[str] = []
    listening = inside(f"{names.lab.setting.prefix}m2", lambda: _udp("203.0.113.102"))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                query, peer = listening.recvfrom(2048)
                asked.append(name_at(query, 12)[0])
                listening.sendto(query[:2] + b"\x84\x03" + query[4:6] + bytes(6) + query[12 : name_at(query, 12)[1] + 4], peer)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        serial = names.publish(["min.lab. 300 NS ns.min.lab.", "ns.min.lab. 300 A 203.0.113.102"])
        until(lambda: names.serving(serial), "the delegation is there")
        names.ask("m1", RESOLVER, "very.private.min.lab", "A")
        until(lambda: asked, "the server of the delegation is asked")
    finally:
        stop.set()
        serving.join()
        listening.close()
    assert asked[0] in ("private.min.lab.", "min.lab.")
    assert "very.private.min.lab." not in asked[:1]


def _udp(address: str, port: int = 53) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(0.2)
    return made


def test_a_new_version_is_at_every_node_without_waiting_for_a_refresh_and_a_forged_one_at_none(names: Names) -> None:
    """NOTIFY, IXFR, verification, IXFR; and a version with a flipped NS is held at the gate, which says why."""
    serial = names.publish()
    until(lambda: names.serving(serial), "it spreads", names.status)  # the SOA's refresh would take half an hour
    text = names.registry.signed("lab.", [serial_set(TLD[0], serial + 1), *TLD[1:]])
    forged = text.replace("unsigned.lab.       \t300\tNS\tns.example.lab.", "unsigned.lab.       \t300\tNS\tns.attacker.lab.")
    assert forged != text
    names.lab.run(names.primary.publish({"lab.": forged}))
    until(lambda: names.status()["zone/lab"].state == "held", "it is refused", names.status)
    zone = names.status()["zone/lab"]
    assert "ZONEMD" in zone.reason
    assert zone.facts is not None
    assert zone.facts["serial"] == serial
    assert "ns.example.lab." in names.ask("m2", NODES["ns-east"][0], "+norec", "unsigned.lab", "NS")
    names.serial += 1
    names.publish()
    until(names.all_well, "a good one follows", names.status)


def nearest(names: Names) -> str:
    """Which node the resolver's own machine reaches under the service address."""
    return served_by(names.ask("resolver", ANYCAST4, "+nsid", "lab", "SOA"))


def test_a_node_that_does_not_answer_withdraws_and_comes_back_when_it_does(names: Names) -> None:
    """Its name server is killed: in a few seconds the service is reached at another site; the loop brings it back, and it proves itself first."""
    names.lab.run(names.lab.setting.machines.host("ns-east").run(["sh", "-c", 'kill -9 $(cat "$0")', _pid_file(names, "ns-east")]))
    until(lambda: names.announced() == {"ns-south", "ns-west"}, "it withdraws", names.facts)
    until(lambda: nearest(names) in ("ns-south", "ns-west"), "another answers")
    until(lambda: names.status()["name-node/ns-east"].state == "withdrawn", "it says so", names.facts)
    assert "no answer" in names.status()["name-node/ns-east"].reason
    setting = names.lab.setting
    outcomes = names.lab.run(converge(setting.world, setting.office.wanted(setting.book.model())))
    assert ("ns-east", "nsd", "ns-east") in [each.key for each in outcomes if each.found]
    assert [each.failure for each in outcomes if each.failure] == []
    until(lambda: names.announced() == set(NODES), "it is back", names.facts)


def _pid_file(names: Names, node: str, daemon: str = "nsd") -> str:
    host = names.lab.setting.machines.host(node)
    return f"{host.home}/{daemon}/{node}/{'nsd: xfrd' if daemon == 'nsd' else daemon}.pid"


def test_when_all_are_ill_they_leave_one_by_one_and_the_last_stays(names: Names) -> None:
    """A version whose signatures live less than a day reaches every node. There is never a moment without an announcement."""
    serial = names.publish(life_seconds=4 * 3600)
    counts: list[int] = []

    def one_stays_and_knows_it() -> bool:
        there = names.announced()
        counts.append(len(there))
        return len(there) == 1 and "ill, but nobody else announces the prefix" in names.status()[f"name-node/{next(iter(there))}"].reason

    until(one_stays_and_knows_it, "one stays, and knows that it is the last", names.facts)
    last = names.announced()
    for _ in range(10):  # long enough for one more to leave, if it would
        counts.append(len(names.announced()))
        time.sleep(0.3)
    assert (names.announced(), min(counts)) == (last, 1), names.facts()
    until(lambda: str(serial) in names.ask("resolver", ANYCAST4, "+short", "lab", "SOA"), "the last one answers", names.facts)
    names.publish()
    until(lambda: names.announced() == set(NODES), "all come back", names.facts)


def test_a_node_that_is_ill_and_hears_no_route_server_stays_and_says_so(names: Names) -> None:
    """Its BIRD stands still: it cannot know whether it is the last one, and does not say that it waits for its turn. The others heard it, and left in theirs; when it hears
    again, it is the last one."""
    pid = _pid_file(names, "ns-east", "bird")

    def signal(word: str) -> None:
        names.lab.host_run("ns-east", "sh", "-c", f'kill -{word} $(cat "$0")', pid)

    signal("STOP")
    try:
        names.publish(["again.lab. 300 A 192.0.2.7"], life_seconds=4 * 3600)
        words = "ill, and cannot know whether it is the last, since no route server is heard (BIRD does not answer within 3 s): lab.: signatures end"
        until(lambda: words in names.status()["name-node/ns-east"].reason, "it says why it stays", names.facts)
    finally:
        signal("CONT")
    until(lambda: names.announced() == {"ns-east"}, "the others leave", names.facts)
    until(
        lambda: "nobody else announces" in names.status()["name-node/ns-east"].reason,
        "it hears again, and that it is the last",
        names.facts,
    )
    names.publish()
    until(lambda: names.announced() == set(NODES), "all come back", names.facts)
    until(names.all_well, "all are well", names.status)


def test_what_is_answered_when_the_outside_is_cut(names: Names) -> None:
    """The root goes on from the resolver's own copy; what was known is given stale, for 30 s at a time (RFC 8767), or by newer Unbounds for no longer than it had; the rest
    is SERVFAIL."""
    serial = names.publish(['short.lab. 1 TXT "still here"'])
    until(lambda: names.serving(serial), "it spreads")
    assert '"still here"' in names.ask("m2", RESOLVER, "short.lab", "TXT")
    cut = [f"{ANYCAST4}/32", f"{ANYCAST6}/128", f"{GATE}/32", *(f"{address}/32" for address, _ in NODES.values())]
    for each in cut:
        names.lab.host_run("resolver", "ip", "route", "add", "blackhole", each)
    try:
        cut_at = time.monotonic()

        def stale() -> bool:
            """Its own life is 1 s, so whatever is said of it 2 s after the cut is."""
            late = time.monotonic() > cut_at + 2
            return late and re.search(r'short\.lab\.\s+(?:30|1)\s.*"still here"', names.ask("m2", RESOLVER, "short.lab", "TXT")) is not None

        until(stale, "it is given stale", lambda: names.ask("m2", RESOLVER, "short.lab", "TXT"))
        assert "status: SERVFAIL" in names.ask("m2", RESOLVER, "+time=8", "never-asked.lab", "TXT")
        assert "status: NXDOMAIN" in names.ask("m2", RESOLVER, "another-nosuchtld", "A")
        assert "status: NOERROR" in names.ask("m2", RESOLVER, "com", "DS")
        assert names.status()["resolver/resolver"].state == "resolving"
    finally:
        for each in cut:
            names.lab.host_run("resolver", "ip", "route", "delete", "blackhole", each)
    until(lambda: "status: NOERROR" in names.ask("m2", RESOLVER, "www.lab", "TXT"), "it resolves again")


def test_the_key_of_the_root_is_rolled_and_nobody_notices(names: Names) -> None:
    """Rehearsed on the lab's root: both anchors in the model, both keys in the zone, then the new one alone; a roll that the model was not told of is
    held at the gate, and everybody goes on with the zone that was."""

    fresh = iter(
        (
            "net",
            "org",
            "de",
            "fr",
            "cn",
            "jp",
            "kr",
            "br",
            "nl",
            "se",
            "no",
            "fi",
            "pl",
            "it",
            "es",
            "pt",
            "at",
            "ch",
            "be",
            "dk",
            "cz",
            "sk",
        )
    )

    def validates() -> bool:
        """Of a name that is in no cache."""
        return re.search(r"Flags:.* ad", names.ask("m2", RESOLVER, "+dnssec", "+time=5", next(fresh), "DS")) is not None

    def arrived(serial: int) -> bool:
        return (names.status()["resolver/resolver"].facts or {}).get("root") == serial

    old = names.registry.anchors(".")
    names.registry.add_key(".")
    both = names.registry.anchors(".")
    assert len(both) == 2
    assert names.lab.apply(exchange(names.registry, both)).verified
    for stage in ("both keys", "the new key alone"):
        if stage != "both keys":
            names.registry.drop_key(".", old[0].split()[0])
        serial = names.publish_root()
        until(lambda: arrived(serial), stage, names.status)  # noqa: B023
        assert validates(), stage
        until(names.all_well, stage, names.status)
    names.registry.add_key(".")
    names.registry.drop_key(".", next(each for each in both if each not in old).split()[0])
    names.publish_root()
    until(lambda: names.status()["zone/root"].state == "held", "the gate holds it", names.status)
    assert "none of its keys is an anchor" in names.status()["zone/root"].reason
    assert arrived(serial)
    assert validates()
    assert names.status()["name-node/ns-east"].state == "announced"
