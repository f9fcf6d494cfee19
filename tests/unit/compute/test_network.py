"""What the exchange knows of the network is in the price: ways, latency, capacity, where data lies. From the fabric's own graph."""

from __future__ import annotations

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import completed
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import hour_number
from nnix.planes.compute.market.clear import clear
from nnix.planes.compute.market.orders import Orders, orders
from nnix.planes.compute.market.publish import deals, published
from nnix.planes.compute.rules import RULES as COMPUTE_RULES
from nnix.planes.data.rules import RULES as DATA_RULES
from nnix.planes.fabric.reach import free, reach

from .exchanges import GPU, RIGHT, Changes, snapshot

FIRST = hour_number("2026-11-26T08Z")
_BUNDLE = {"device": GPU, "devices": 8, "hours": 2, "start": "2026-11-26T09Z"}
_SITE = {"role": "node", "level": "city", "country": "CN"}

# Data at nb. GPUs at hz (8 yuan, one link of 1 ms away) and at wz (6 yuan, behind hz: two links, 6 ms).
THREE: Changes = {
    "Deal/train-1": None,
    "Job/train": None,
    "Bid/search": None,
    "Site/wz": {**_SITE, "title": {"en": "Wenzhou"}, "city": "Wenzhou"},
    "Link/hz-wz": {"a": "hz", "b": "wz", "capacity": "100G", "latency": "5ms"},
    "Member/south": {"title": {"en": "M"}, "asn": 64505, "class": "compute"},
    "Port/south": {"member": "south", "site": "wz", "speed": "100G", "tagged": True},
    "Pool/south": {**RIGHT["Pool/gpus"], "member": "south", "site": "wz", "port": "south", "identifiers": []},
    "Offer/south-day": {**RIGHT["Offer/gpus-day"], "pool": "south", "ask": "6yuan"},
    "Bid/train": {"bundles": [_BUNDLE]},
}


def asked(changes: Changes, dark: frozenset[str] = frozenset(), load: dict[str, float] | None = None) -> tuple[Snapshot, Orders]:
    made = snapshot({**THREE, **changes})
    known = reach(made, dark)
    return made, orders(made, known, free(made, known, load), "now", FIRST, FIRST + 24)


def where(changes: Changes, dark: frozenset[str] = frozenset(), load: dict[str, float] | None = None) -> str | None:
    """At which site the bid is filled."""
    found = clear(asked(changes, dark, load)[1])
    return found.won[0][1].site if found.won else None


def why(changes: Changes, dark: frozenset[str] = frozenset(), load: dict[str, float] | None = None) -> dict[str, str]:
    """site → why not there."""
    return {site: reason for _, site, _, reason in asked(changes, dark, load)[1].aside}


def test_the_price_of_moving_data_decides_between_sites() -> None:
    """16 device-hours: 128 yuan at hz, 96 at wz. 400 GB cost 20 yuan for each link: 148 against 136; 800 GB 168 against 176."""
    data = {"dataset": "cargo", "site": "nb", "contract": "cargo"}
    assert where({"Bid/train": {"bundles": [_BUNDLE], "data": {**data, "gigabytes": 400}, "rate": "10G"}}) == "wz"
    assert where({"Bid/train": {"bundles": [_BUNDLE], "data": {**data, "gigabytes": 800}, "rate": "10G"}}) == "hz"


def test_a_degraded_path_moves_the_choice() -> None:
    """The link to wz is out, or slow, or full: then hz. The link of the data's own site out: nowhere."""
    assert where({}) == "wz"
    assert where({}, dark=frozenset({"hz-wz"})) == "hz"
    assert why({}, dark=frozenset({"hz-wz"})) == {"wz": "no way leads there"}
    limited: Changes = {"Bid/train": {"bundles": [_BUNDLE], "latency_max": "7ms"}}
    assert where(limited) == "wz"
    slower: Changes = {**limited, "Link/hz-wz": {**dict(THREE["Link/hz-wz"] or {}), "latency": "7ms"}}
    assert where(slower) == "hz"
    assert why(slower) == {"wz": "the latency is above the bid's limit"}
    assert where({}, load={"hz-wz": 99.5e9}) == "hz"
    assert where({}, dark=frozenset({"hz-nb"})) is None


def test_what_cannot_be_delivered_says_why() -> None:
    """Assurance, a pool without a port, data that come too late, a port without tags that is taken, too few lots, a limit below all asks."""
    assert why({"Bid/train": {"bundles": [_BUNDLE], "assurance": 2}}) == dict.fromkeys(("hz", "wz"), "the assurance level is too low")
    assert why({"Pool/south": {**dict(THREE["Pool/south"] or {}), "port": None}})["wz"].startswith("the pool has no port")
    assert "would not be there" in why({"Bid/train": {"bundles": [_BUNDLE], "rate": "100M"}})["hz"]
    assert "so many lots" in why({"Bid/train": {"bundles": [{**_BUNDLE, "devices": 17}]}})["hz"]
    assert "cost more than the limit" in why({"Bid/train": {"bundles": [_BUNDLE], "limit": "140yuan"}})["hz"]
    taken: Changes = {
        "Port/south": {**dict(THREE["Port/south"] or {}), "tagged": False},
        "Port/x": {"member": "south", "site": "hz", "speed": "10G"},
        "Circuit/old": {"ends": ["south", "x"]},
    }
    assert "the end of another circuit" in why(taken)["wz"]
    bare = {**dict(THREE["Port/south"] or {}), "tagged": False}
    session: Changes = {
        "Lan/peering": {"title": {"en": "LAN"}, "v4": "198.18.0.0/24"},
        "Port/south": bare,
        "Session/south": {"member": "south", "port": "south", "lan": "peering", "v4": "198.18.0.5"},
    }
    assert "of a session" in why(session)["wz"]
    gateway: Changes = {"Port/south": {**bare, "gateway": {"ours": "192.0.2.1", "theirs": "192.0.2.2"}}}
    assert "of a gateway's cable" in why(gateway)["wz"]


def tags_taken(port: str, count: int) -> Changes:
    """So many tags of a port are in use."""
    member = str(dict(RIGHT[f"Port/{port}"])["member"])
    more = {"member": member, "site": RIGHT[f"Port/{port}"]["site"], "speed": "1G", "over": port}
    return {f"Port/{port}-{tag}": {**more, "vlan": tag} for tag in range(1, count + 1)}


def test_a_bid_for_which_no_tag_is_left_keeps_no_other_from_being_filled() -> None:
    """All tags of the buyer's port are taken: it is set aside, and who needs no circuit there is filled. One is left: of two that need it the better one is."""
    other: Changes = {"Bid/plain": {"member": "buyer", "limit": "200yuan", "bundles": [{**_BUNDLE, "site": "hz"}]}}
    full: Changes = {**tags_taken("archive", 4094), **other}
    assert set(why(full).values()) == {"a tagged port at which its circuit would end has no tag left"}
    made, book = asked(full)
    found = clear(book)
    assert [book.buys[number].bid for number, _ in found.won] == ["plain"]
    second: Changes = {"Bid/second": {**dict(RIGHT["Bid/train"]), "limit": "299yuan", "bundles": [_BUNDLE]}}
    made, book = asked({**tags_taken("archive", 4093), **other, **second})
    found = clear(book)
    assert {book.buys[number].bid for number, _ in found.won} == {"train", "plain"}
    admitted = completed(ALL_PLANES, made.declared.replaced(deals(found, published(found)["digest"])), made)
    assert not [each for each in judge(admitted, COMPUTE_RULES) if "deal" in each.rule]


def test_a_circuit_does_not_end_where_it_begins() -> None:
    """The data come out at the very port behind which the pool is: there is nothing for the exchange to join. Elsewhere the bid is filled."""
    there: Changes = {"Pool/gpus": {"member": "archive", "site": "nb", "port": "archive", "identifiers": []}}
    assert why(there) == {"nb": "its circuit would end at the port where it begins"}
    assert where(there) == "wz"


def test_lots_that_are_alike_are_all_delivered_or_none_is() -> None:
    """A second pool sells the same at the same site, so it may be any of the two: one without a port, or behind a narrow one, hinders both."""
    more: Changes = {
        "Bid/train": {"bundles": [{**_BUNDLE, "site": "hz"}], "rate": "10G"},
        "Pool/z": {**RIGHT["Pool/gpus"], "port": None, "identifiers": []},
        "Offer/z-day": {**RIGHT["Offer/gpus-day"], "pool": "z", "ask": "7yuan"},
    }
    assert why(more)["hz"].startswith("the pool has no port")
    assert why({**more, "Offer/z-day": None}) == {}
    narrow: Changes = {"Port/slow": {"member": "east", "site": "hz", "speed": "1G", "tagged": True}}
    assert "not so much capacity" in why({**more, **narrow, "Pool/z": {**dict(more["Pool/z"] or {}), "port": "slow"}})["hz"]
    wide: Changes = {"Port/fast": {"member": "east", "site": "hz", "speed": "100G", "tagged": True}}
    (buy,) = asked({**more, **wide, "Pool/z": {**dict(more["Pool/z"] or {}), "port": "fast"}})[1].buys
    assert set(buy.wants[0].links) == {"hz-nb", "port/archive", "port/east", "port/fast"}


def test_hours_after_the_end_of_the_datas_contract_are_set_aside() -> None:
    """Nobody may read them then. The bid is filled in the hours before, and without any it keeps no other bid from being filled."""
    data = {"DataContract/cargo": {**RIGHT["DataContract/cargo"], "until": "2026-11-26T12Z"}}
    late = {**_BUNDLE, "start": "2026-11-26T11Z"}
    assert set(why({**data, "Bid/train": {"bundles": [late]}}).values()) == {
        "the contract under which its data may be read ends before the hours are over"
    }
    made, found = asked({**data, "Bid/train": {"bundles": [{**_BUNDLE, "latest": "2026-11-26T18Z"}]}})
    assert {want.start for buy in found.buys for want in buy.wants} == {hour_number("2026-11-26T09Z"), hour_number("2026-11-26T10Z")}
    cleared = clear(found)
    wanted = completed(ALL_PLANES, made.declared.replaced(deals(cleared, published(cleared)["digest"])), made)
    assert judge(wanted, DATA_RULES) == ()


def test_circuits_that_stand_are_taken_off_what_is_left_on_links() -> None:
    """A circuit of 60 G over hz-wz leaves 40; on the way that frames take, both links of it."""
    made, _ = asked({"Port/x": {"member": "south", "site": "wz", "speed": "100G"}, "Port/y": {"member": "east", "site": "nb", "speed": "100G"}, "Circuit/big": {"ends": ["x", "y"], "capacity": "60G"}})  # fmt: skip
    known = reach(made)
    assert free(made, known) == {"hz-nb": 40 * 10**9, "hz-wz": 40 * 10**9}
    assert free(made, known, {"hz-wz": 70e9}) == {"hz-nb": 40 * 10**9, "hz-wz": 30 * 10**9}
    assert (known["nb", "wz"].latency_us, known["nb", "wz"].links) == (6000, ("hz-nb", "hz-wz"))


def test_a_member_does_not_buy_its_own_lots() -> None:
    own: Changes = {"Bid/train": {"member": "south", "bundles": [_BUNDLE], "port": "south", "data": None}}
    assert where(own) == "hz"
    assert why(own) == {"wz": "its member sells there itself"}
