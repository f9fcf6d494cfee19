"""Addresses, MACs, as-sets, states and countries as member lists spell them, brought to the one spelling that our kinds have.

Each function takes what a list says and where it says so, and gives the value, or None with a finding. The variants are
those met in real exports: an address with its mask, a MAC in Cisco's dots, an as-set behind its registry with one colon
or with @, a country in three letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

from nnix.planes.fabric.kinds import PortState
from nnix.planes.members.numbers import COUNTRIES, REGISTRIES
from nnix.planes.members.rules import as_set_well_named
from nnix.planes.members.sheet import Address, Log, Network, shown

STATES: dict[str, PortState] = {
    "active": PortState.PRODUCTION,
    "connected": PortState.PRODUCTION,
    "enabled": PortState.PRODUCTION,
    "operational": PortState.PRODUCTION,
    "production": PortState.PRODUCTION,
    "up": PortState.PRODUCTION,
    "drained": PortState.DRAINED,
    "maintenance": PortState.DRAINED,
    "quarantine": PortState.QUARANTINE,
    "testing": PortState.QUARANTINE,
    "inactive": PortState.RESERVED,
    "pending": PortState.RESERVED,
    "planned": PortState.RESERVED,
    "provisioning": PortState.RESERVED,
    "reserved": PortState.RESERVED,
    "disabled": PortState.SUSPENDED,
    "down": PortState.SUSPENDED,
    "suspended": PortState.SUSPENDED,
}

COUNTRY_SLIPS = {"UK": "GB", "USA": "US", "GBR": "GB", "DEU": "DE", "GER": "DE", "NLD": "NL", "CHN": "CN", "FRA": "FR", "JPN": "JP"}


def address_of(text: object, where: str, log: Log) -> Address | None:
    """A unicast address of a host, IPv4 or IPv6, without a zone."""
    if not isinstance(text, str):
        log.left_out(where, f"{shown(text)} is not an address", "the address")
        return None
    bare, slash, _ = text.strip().partition("/")
    try:
        address = ip_address(bare.strip())
    except ValueError:
        log.left_out(where, f"{shown(text)} is not an address", "the address")
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        log.repaired(where, f"{text} is IPv4 in the clothes of IPv6", f"taken as {address.ipv4_mapped}")
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        address = IPv6Address(int(address))
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local or int(address) == 0xFFFFFFFF:
        log.left_out(where, f"{address} is no unicast address that members could meet on", "the address")
        return None
    if isinstance(address, IPv4Address) and (address in IPv4Network("0.0.0.0/8") or address in IPv4Network("240.0.0.0/4")):
        log.left_out(where, f"{address} is no address of a host (RFC 1122, 3.2.1.3; RFC 1112, 4)", "the address")
        return None
    if slash:
        log.repaired(where, f"{shown(text)} has a mask", f"taken as {address}")
    return address


def prefix_of(text: str, length: int | None, where: str, log: Log) -> Network | None:
    """A LAN's prefix. The length may stand in `text` instead; bits behind it are cleared."""
    bare, slash, inside = text.partition("/")
    if slash and inside.isdecimal() and length is None:
        length = int(inside[:4])
        log.repaired(where, f"{shown(text)} has its length inside", f"length {length}")
    if length is None:
        log.left_out(where, f"{shown(text)} has no length", "the prefix")
        return None
    try:
        network = ip_network(f"{bare.strip()}/{length}", strict=False)
    except ValueError:
        log.left_out(where, f"{shown(text)} with length {length} is not a prefix", "the prefix")
        return None
    if network.num_addresses < 4 or network.prefixlen < 8:
        log.left_out(where, f"{network} is too {'small' if network.num_addresses < 4 else 'large'} for a LAN", "the prefix")
        return None
    if str(network.network_address) != bare.strip().lower() and int(network.network_address) != _number(bare):
        log.repaired(where, f"{bare}/{length} has bits behind its length", f"taken as {network}")
    if network.is_multicast or network.is_loopback or network.is_link_local:
        log.left_out(where, f"{network} holds no addresses that members could meet on", "the prefix")
        return None
    return network


def _number(text: str) -> int:
    return int(ip_address(text.strip()))


def macs_of(values: Iterator[tuple[str, object]], log: Log) -> tuple[str, ...]:
    """EUI-48 addresses of single interfaces, lower case with colons, each once."""
    found: dict[str, None] = {}
    for where, value in values:
        digits = re.sub(r"[-:. \t]", "", value).lower() if isinstance(value, str) else ""
        if value == "":
            continue  # what some exporters write for "none known"
        if not re.fullmatch(r"[0-9a-f]{12}", digits):
            log.left_out(where, f"{shown(value)} is not a MAC address", "the MAC address")
        elif int(digits[1], 16) & 1 or int(digits, 16) == 0:
            log.left_out(where, f"{shown(value)} is no single interface's MAC address", "the MAC address")
        else:
            mac = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
            if mac != value:
                log.repaired(where, f"{shown(value)} is not lower case with colons", f"taken as {mac}")
            found[mac] = None
    return tuple(found)


def as_sets_of(text: str | None, where: str, log: Log) -> tuple[str, ...]:
    """As-sets in RPSL's spelling, their registry before `::`, each once. Several may stand in `text`, divided by blanks or commas."""
    found: dict[str, None] = {}
    for word in re.split(r"[\s,;|]+", text or ""):
        if not word:
            continue
        name = _as_set(word)
        if name is None:
            log.left_out(where, f"{shown(word)} is not an as-set (RFC 2622, 5.1)", "the as-set")
            continue
        if name != word:
            log.repaired(where, f"{shown(word)} is not in RPSL's spelling", f"taken as {name}")
        found[name] = None
    return tuple(found)


def _as_set(word: str) -> str | None:
    name, registry = word.upper(), ""
    if "@" in name:
        name, _, registry = name.partition("@")
    elif "::" in name:
        registry, _, name = name.partition("::")
    elif ":" in name and name.partition(":")[0] in REGISTRIES:
        registry, _, name = name.partition(":")
    if name.isdecimal() and name.isascii():
        name = f"AS{int(name[:10])}"
    if not name.isascii() or not as_set_well_named(name) or (registry and not re.fullmatch(r"[A-Z][A-Z0-9-]*", registry)):
        return None
    return f"{registry}::{name}" if registry else name


def state_of(text: str | None, where: str, log: Log) -> PortState:
    """The state of a port. Unset: production, since a list names who is there."""
    if text is None:
        return PortState.PRODUCTION
    state = STATES.get(text.lower())
    if state is None:
        log.repaired(where, f"{shown(text)} is no state known here", "taken as production")
    return state or PortState.PRODUCTION


def country_of(text: str | None, where: str, log: Log) -> str | None:
    """An assigned code of ISO 3166-1."""
    if text is None:
        return None
    code = COUNTRY_SLIPS.get(text.upper(), text.upper())
    if code not in COUNTRIES and code != "XK":
        log.left_out(where, f"{shown(text)} is no country's code (ISO 3166-1)", "the country")
        return None
    if code != text:
        log.repaired(where, f"{shown(text)} is not a code of two capitals", f"taken as {code}")
    return code


def day_of(text: str | None, where: str, log: Log) -> str | None:
    """The day of a time stamp (RFC 3339), or of a bare date."""
    if text is None:
        return None
    match = re.match(r"(\d{4})-(\d{2})-(\d{2})(?:$|[T ])", text, re.ASCII)
    lengths = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if match is not None:
        year, month, day = (int(part) for part in match.groups())
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if year >= 1 and 1 <= month <= 12 and 1 <= day <= lengths[month - 1] and (leap or (month, day) != (2, 29)):
            return match[0][:10]
    log.left_out(where, f"{shown(text)} is no time stamp (RFC 3339)", "the day")
    return None
