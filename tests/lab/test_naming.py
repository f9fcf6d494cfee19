"""A hosted top-level domain on a small exchange: a hidden primary, the gate, three anycast nodes of two makes, a resolver, all real."""

from __future__ import annotations

import base64
import re
import secrets as chance
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from nnix.daemons.secrets import Secrets
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.planes.naming.read import read
from tests.lab.exchange import SITES, Lab, frame, member, resource
from tests.lab.registry import HiddenPrimary, Registry, primary, real_root, serial_set

pytestmark = pytest.mark.lab

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


def station(name: str, address: str, site: str) -> list[Resource]:
    last = address.rpartition(".")[2]
    return [
        resource("Port", name, member="op", site=site, speed="10G"),
        resource("Session", name, member="op", lan="lan", port=name, v4=address, v6=f"2001:db8:1::{last}"),
    ]


def exchange(registry: Registry) -> list[Resource]:
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
        resource("Resolver", "resolver", session="resolver", root="root"),
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
                anchors=registry.anchors(origin),
                lag_max="5s",
            )
        )
    for site, (name, (address, make)) in zip(SITES, NODES.items(), strict=True):
        made += station(name, address, site)
        made.append(resource("NameNode", name, session=name, anycast="tld", gate="gate", daemon=make, catalog=make == "knot"))
    return made


@dataclass
class Names:
    """The lab, and the registry's hand."""

    lab: Lab
    registry: Registry
    primary: HiddenPrimary
    root: str
    serial: int = 1

    def status(self) -> dict[str, Status]:
        return {each.resource: each for each in self.lab.run(read(self.lab.snapshot, self.lab.setting.machines))}

    def ask(self, machine: str, server: str, *question: str) -> str:
        return self.lab.host_run(machine, "kdig", "+retry=0", "+time=3", f"@{server}", *question)

    def publish(self, extra: list[str] | None = None, *, life_seconds: int = 14 * 86400) -> int:
        """A new good version of lab., with its serial."""
        self.serial += 1
        lines = [serial_set(TLD[0], self.serial), *TLD[1:], *(extra or [])]
        self.lab.run(self.primary.publish({"lab.": self.registry.signed("lab.", lines, life_seconds)}))
        return self.serial


def until(holds: Callable[[], object], seconds: float, what: str, tell: Callable[[], object] = lambda: "") -> float:
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
    delegation = ["lab. 86400 NS ns.lab.", f"ns.lab. 86400 A {ANYCAST4}", f"ns.lab. 86400 AAAA {ANYCAST6}"]
    ds = [f"lab. 86400 DS {each}" for each in registry.anchors("lab.")]
    root = registry.signed(".", [*real_root(), *delegation, *ds])
    lab = Lab(state)
    try:
        assert lab.apply(exchange(registry)).verified, lab.differences()
        content = primary(REGISTRY, 53, ("registry.", "@SECRET:tsig-registry@"), [(GATE, 53)], [".", "lab."])
        hidden = HiddenPrimary(lab.setting.machines.host("m1"), Secrets(kept), content)
        lab.run(hidden.publish({".": root, "lab.": tld}))
        made = Names(lab, registry, hidden, root)
        until(lambda: all(each.good for each in made.status().values()), 60, "all is served", made.status)
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
