"""Admission to the members plane: what must be true of an exchange before anything is built on it.

One exchange, one hub, and around it the shape that nnix builds: 1 hub, 2 backbone connect points, X nodes. Each member is one network under one number of its own, a number that the public Internet would accept; only a
laboratory may let documentation numbers stand for networks. Machines are named completely enough to be reached, and no
machine by another's identity.

Not here: addresses and MACs on LANs (fabric, routing), and what is merely unusual. That a node is best joined by two
carriers, or a hub by all three, is advice, and advice does not refuse a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_address

from nnix.kernel.resource import Ref
from nnix.kernel.rule import Broken, Rule, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Carrier, Exchange, Level, Machine, Member, Reach, Site, SiteRole
from nnix.planes.members.numbers import COUNTRIES, DOCUMENTATION, REGISTRIES, set_aside, user_assigned

ONE_TWO_X = "nnix, the 1+2+X network: one hub, two backbone connect points, X nodes"
MODEL = "nnix, kinds of the members plane"
ASN_SOURCES = "RFC 6996, RFC 7300, RFC 7607, RFC 6793; IANA, Special-Purpose AS Numbers"

# RFC 7454, 8 wants a peer's limit below the number of routes in the Internet: about 1.0 million IPv4 and 0.23 million IPv6 in 2026.
FULL_TABLE = {"v4": 900_000, "v6": 200_000}


def _lab(snapshot: Snapshot) -> bool:
    return any(each.lab for each in snapshot.of(Exchange))


# --- the exchange and its shape


@rule("members.exchange-once", source=MODEL)
def exchange_once(exchange: Exchange, snapshot: Snapshot) -> Iterator[Broken]:
    """There is one Exchange; everything else belongs to it."""
    first, *_ = snapshot.of(Exchange)
    if exchange is not first:
        yield Broken("name", exchange.name, f"one Exchange, and {first.name} is there already", f"delete one of {first.id}, {exchange.id}")


@rule("members.exchange-of-sites", source=MODEL, whole=True)
def exchange_of_sites(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """Where there are sites, there is an Exchange that they belong to."""
    if not snapshot.of(Exchange) and site is snapshot.of(Site)[0]:
        yield Broken("", "there is no Exchange", "exactly one Exchange", "declare the exchange: kind Exchange, with its ASN and country")


@rule("members.exchange-of-members", source=MODEL, whole=True)
def exchange_of_members(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """Where there are members, there is an Exchange that they have joined."""
    if not snapshot.of(Exchange) and not snapshot.of(Site) and member is snapshot.of(Member)[0]:
        yield Broken("", "there is no Exchange", "exactly one Exchange", "declare the exchange: kind Exchange, with its ASN and country")


@rule("members.hub-exists", source=ONE_TWO_X, whole=True)
def hub_exists(exchange: Exchange, snapshot: Snapshot) -> Iterator[Broken]:
    """An exchange with sites has a hub, the 1 of 1+2+X."""
    if snapshot.of(Site) and not snapshot.where(Site, role=SiteRole.HUB):
        yield Broken(
            "",
            f"none of {len(snapshot.of(Site))} sites is the hub",
            "one Site with role: hub",
            "set role: hub on the site that all others join",
        )


@rule("members.hub-once", source=ONE_TWO_X)
def hub_once(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """An exchange has one hub, not several."""
    hubs = snapshot.where(Site, role=SiteRole.HUB)
    if site.role is SiteRole.HUB and site is not hubs[0]:
        yield Broken("role", site.role, f"one hub, and {hubs[0].name} is it already", "set role: backbone or role: node")


@rule("members.backbone-two", source=ONE_TWO_X, whole=True)
def backbone_two(exchange: Exchange, snapshot: Snapshot) -> Iterator[Broken]:
    """An exchange has two backbone connect points, or none."""
    found = snapshot.where(Site, role=SiteRole.BACKBONE)
    if len(found) not in (0, 2):
        names = ", ".join(each.name for each in found)
        yield Broken(
            "", f"sites with role backbone: {names}", "two of them, or none", "set role: backbone on two sites, role: node on others"
        )


@rule("members.hub-joins-carriers", source=ONE_TWO_X)
def hub_joins_carriers(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """Where carriers are declared, the hub is where they meet."""
    if site.role is SiteRole.HUB and snapshot.of(Carrier) and not site.carriers:
        names = ", ".join(each.name for each in snapshot.of(Carrier))
        yield Broken("carriers", "none", f"at least one of {names}", "list the carriers that the hub joins")


@rule("members.level-fits-country", source=MODEL)
def level_fits_country(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A site under another law than the exchange's exchanges traffic across a border, and says so."""
    for exchange in snapshot.of(Exchange)[:1]:
        if site.country != exchange.country and site.level is not Level.CROSS_BORDER:
            yield Broken(
                "level", site.level, f"{Level.CROSS_BORDER}, since the site is in {site.country} and the exchange in {exchange.country}"
            )


@rule("members.position-whole", source="ISO 6709")
def position_whole(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A position is a latitude and a longitude; one alone is no place."""
    if (site.latitude is None) != (site.longitude is None):
        missing = "latitude" if site.latitude is None else "longitude"
        yield Broken(missing, "unset", "both latitude and longitude, or neither", f"set {missing}")


@rule("members.site-country-assigned", source="ISO 3166-1")
def site_country_assigned(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A site's country code is one that ISO has assigned."""
    yield from _country(site.country, snapshot)


@rule("members.exchange-country-assigned", source="ISO 3166-1")
def exchange_country_assigned(exchange: Exchange, snapshot: Snapshot) -> Iterator[Broken]:
    """The exchange's country code is one that ISO has assigned."""
    yield from _country(exchange.country, snapshot)


@rule("members.country-assigned", source="ISO 3166-1")
def member_country_assigned(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """A member's country code is one that ISO has assigned."""
    yield from _country(member.country, snapshot)


def _country(code: str | None, snapshot: Snapshot) -> Iterator[Broken]:
    if code is None or code in COUNTRIES or code == "XK":  # XK: Kosovo, by usage of the EU and of the registries
        return
    if not (user_assigned(code) and _lab(snapshot)):
        yield Broken("country", code, "an assigned code of ISO 3166-1", "write GB" if code == "UK" else "")


# --- AS numbers


@rule("members.asn-once", source="RFC 1930, 3")
def asn_once(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """An AS is one network, so it joins as one member."""
    first, *_ = snapshot.where(Member, asn=member.asn)
    if member is not first:
        yield Broken("asn", member.asn, f"a number of its own; {first.id} has this one", f"give {first.id} a further port instead")


@rule("members.asn-public", source=ASN_SOURCES)
def asn_public(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """A member's AS number is neither private nor reserved: others would see a network that nobody can identify."""
    yield from _public(member.asn, "asn")


@rule("members.asn-documentation", source="RFC 5398", whole=True)
def asn_documentation(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """Documentation numbers stand for networks only where the exchange declares itself a laboratory."""
    yield from _documentation(member.asn, "asn", snapshot)


@rule("members.asn-not-the-exchanges", source="RFC 7947, 2.2.2.1")
def asn_not_the_exchanges(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """The exchange's own AS is no member: its route servers would peer with themselves, and drop their own AS as a loop."""
    for exchange in snapshot.where(Exchange, asn=member.asn):
        yield Broken(
            "asn", member.asn, f"another number; this one is {exchange.id}'s own", "delete the member; route servers are kind RouteServer"
        )


@rule("members.exchange-asn-public", source=ASN_SOURCES)
def exchange_asn_public(exchange: Exchange, snapshot: Snapshot) -> Iterator[Broken]:
    """The exchange's AS number is neither private, nor reserved, nor, outside laboratories, for documentation."""
    yield from _public(exchange.asn, "asn")
    yield from _documentation(exchange.asn, "asn", snapshot)


@rule("members.carrier-asn-public", source=ASN_SOURCES, whole=True)
def carrier_asn_public(carrier: Carrier, snapshot: Snapshot) -> Iterator[Broken]:
    """A carrier's AS numbers are neither private, nor reserved, nor, outside laboratories, for documentation."""
    for index, asn in enumerate(carrier.asns):
        yield from _public(asn, f"asns.{index}")
        yield from _documentation(asn, f"asns.{index}", snapshot)


@rule("members.carrier-asn-once", source="RFC 1930, 3")
def carrier_asn_once(carrier: Carrier, snapshot: Snapshot) -> Iterator[Broken]:
    """An AS belongs to one carrier, and is listed there once."""
    for index, asn in enumerate(carrier.asns):
        first = snapshot.where(Carrier, asns=asn)[0]
        if first is not carrier:
            yield Broken(f"asns.{index}", asn, f"a number of its own; {first.id} has this one")
        elif asn in carrier.asns[:index]:
            yield Broken(f"asns.{index}", asn, "each number once", "delete the second")


def _public(asn: int, field: str) -> Iterator[Broken]:
    found = set_aside(asn)
    if found is not None and found.purpose != DOCUMENTATION:
        yield Broken(field, f"{asn} is {found.purpose} ({found.source})", "a number that a registry has assigned to the network")


def _documentation(asn: int, field: str, snapshot: Snapshot) -> Iterator[Broken]:
    found = set_aside(asn)
    if found is not None and found.purpose == DOCUMENTATION and not _lab(snapshot):
        yield Broken(field, f"{asn} is for documentation", "an assigned number, or an Exchange with lab: true")


# --- what members say of themselves


@rule("members.as-set-name", source="RFC 2622, 5.1")
def as_set_name(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """Each part of an as-set's name is an AS number or begins with AS-, and one part at least is a set's name."""
    for index, name in enumerate(member.as_sets):
        _, _, rpsl = name.rpartition("::")
        if not as_set_well_named(rpsl):
            yield Broken(f"as_sets.{index}", name, "AS-SET, AS64500:AS-SET, or AS64500 alone; before it, where wanted, its registry and ::")


@rule("members.as-set-registry", source="registries mirrored for the IRR (irr.net, PeeringDB)", whole=True)
def as_set_registry(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """The registry before :: is one that exists; a slip there would silently find nothing. A laboratory may have its own."""
    for index, name in enumerate(member.as_sets):
        registry, separator, _ = name.rpartition("::")
        if separator and registry not in REGISTRIES and not _lab(snapshot):
            yield Broken(f"as_sets.{index}", registry, f"one of {', '.join(sorted(REGISTRIES))}", "correct the registry, or leave it out")


def as_set_well_named(name: str) -> bool:
    """Whether `name`, without its registry, is an AS or an as-set by RFC 2622, 5.1."""
    parts = name.split(":")
    numbers = [re.fullmatch(r"AS(0|[1-9][0-9]{0,9})", part) for part in parts]
    if not all(number or re.fullmatch(r"AS-[A-Z0-9_-]*[A-Z0-9]", part) for number, part in zip(numbers, parts, strict=True)):
        return False
    if any(number and int(number[1]) > 0xFFFFFFFF for number in numbers):
        return False
    return len(parts) == 1 or not all(numbers)


@rule("members.prefixes-below-full-table", source="RFC 7454, 8")
def prefixes_below_full_table(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """A member's prefix limit lies below the size of the Internet's table, or it would not stop a leaked full table."""
    for family, full in FULL_TABLE.items():
        limit = getattr(member.prefixes_max, family)
        if limit is not None and limit >= full:
            yield Broken(
                f"prefixes_max.{family}", limit, f"less than {full}", "state how many prefixes the member announces, with some headroom"
            )


@rule("members.joined-on-a-day", source="ISO 8601")
def joined_on_a_day(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """The day of joining is a day of the calendar."""
    if member.joined is not None:
        try:
            date.fromisoformat(member.joined)
        except ValueError:
            yield Broken("joined", member.joined, "a day of the calendar, like 2021-11-06")


# --- machines and tunnel ends


@rule("members.vtep-once", source="RFC 7348, 4")
def vtep_once(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A tunnel end has an address of its own, or frames would come out at the wrong site."""
    if site.vtep is not None:
        first, *_ = snapshot.where(Site, vtep=site.vtep)
        if site is not first:
            yield Broken("vtep", site.vtep, f"an address of its own; {first.id} has this one", "leave it out: nnix allocates one")


@rule("members.vtep-unicast", source="RFC 7348, 4")
def vtep_unicast(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A tunnel end is reached over the underlay, so its address is a unicast address of a machine."""
    if site.vtep is not None:
        vtep = ip_address(str(site.vtep))
        if vtep.is_multicast or vtep.is_unspecified or vtep.is_loopback or vtep.is_link_local or str(vtep) == "255.255.255.255":
            yield Broken("vtep", site.vtep, "a unicast address, like 10.255.0.1", "leave it out: nnix allocates one")


@rule("members.machine-of-one-site", source=MODEL)
def machine_of_one_site(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A machine is the switch of one site: two sites on it would share their bridges and fail together."""
    machine = machine_of(site)
    first = next(each for each in snapshot.of(Site) if machine_of(each) == machine)
    if site is not first:
        yield Broken("machine", machine, f"a machine of its own; {first.id} runs on this one", "name another machine, or leave it out")


def machine_of(site: Site) -> str:
    """The machine that is the switch of `site`: the one it names, else one of its own name."""
    named: Ref[Machine] | None = site.machine
    return str(named) if named is not None else site.name


@rule("members.machine-reachable", source="RFC 4251, 4.1", whole=True)
def machine_reachable(machine: Machine, snapshot: Snapshot) -> Iterator[Broken]:
    """A machine over SSH is named by its address and known by its host key, so that nobody answers in its place. A laboratory makes its own."""
    if machine.reach is Reach.SSH and not _lab(snapshot):
        if machine.address is None:
            yield Broken("address", "unset", "its host name or address, like 192.0.2.10")
        if machine.host_key is None:
            yield Broken("host_key", "unset", "its public host key", "read it on the machine: cat /etc/ssh/ssh_host_ed25519_key.pub")


@rule("members.machine-once", source=MODEL)
def machine_once(machine: Machine, snapshot: Snapshot) -> Iterator[Broken]:
    """A folder on a machine belongs to one Machine, since each file has one owner."""
    if machine.reach is not Reach.SSH or machine.address is None:
        return
    place = (machine.address, machine.port, machine.home)
    first = next(each for each in snapshot.where(Machine, address=machine.address) if (each.address, each.port, each.home) == place)
    if machine is not first:
        yield Broken("address", machine.address, f"another address, port or home; {first.id} has these", "set home to a folder of its own")


RULES: tuple[Rule, ...] = (
    exchange_once,
    exchange_of_sites,
    exchange_of_members,
    hub_exists,
    hub_once,
    backbone_two,
    hub_joins_carriers,
    level_fits_country,
    position_whole,
    site_country_assigned,
    exchange_country_assigned,
    member_country_assigned,
    asn_once,
    asn_public,
    asn_documentation,
    asn_not_the_exchanges,
    exchange_asn_public,
    carrier_asn_public,
    carrier_asn_once,
    as_set_name,
    as_set_registry,
    prefixes_below_full_table,
    joined_on_a_day,
    vtep_once,
    vtep_unicast,
    machine_of_one_site,
    machine_reachable,
    machine_once,
)
