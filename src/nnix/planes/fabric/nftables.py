"""Spells a switch for nftables: what may come in at a port.

Whatever is not known to be right is dropped, cheapest test first: the source MAC is one registered for the port; a group address
gets ARP requests and neighbour discovery only, and few of them; the frame is IPv4, IPv6 or ARP; ARP and neighbour discovery speak for
the port's own addresses; nobody uses another's address of the LAN; control protocols of the link stay at home. What is left
is what an exchange is for: unicast between members' routers.

Neighbour discovery is believed only with hop limit 255 (RFC 4861, 7.1), which no router lets through. So a packet with 255
and an extension header in front, where a filter could be deceived (RFC 7113, RFC 6980), is dropped whatever it is; not so ESP, behind
which nobody but the two ends finds anything. Protocols are looked for behind extension headers as well (`meta l4proto`).

No rule is there in vain: tests/lab/test_attacks.py takes out each rule, each condition and each value, and something arrives each time.

A neighbour message has one option at most, the link-layer address, and that must be the port's (RFC 4861, 4.3 and 4.4; 24 octets
without, 32 with it); only who looks whether his own address is taken, from no address, may add a nonce (RFC 7527).

The head of ARP is tested field by field, because within a concatenation nft takes sender and address at fixed offsets whatever the
head says.

Everything that depends on members is a member of a set, so that the rules stay the same when a member comes: one lookup
whether there are ten ports or a thousand. Each reason has a chain of its own that counts, in all and by port.

Hooks stand before priority 0: where the module br_netfilter is loaded, it takes IP packets there for a walk through iptables
and puts them back behind everything else of that priority, so that a chain at 0 would see nothing of them.

On a circuit nothing is registered, and whoever bought it decides what it carries. Only what speaks to the next switch (IEEE 802.1Q,
8.6.3) is not let in: the next switch is ours. (A group address as source no Linux bridge takes, so that no rule says it.)

A route server's port is held to the same. What comes out of a tunnel was tested where it went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address

from nnix.planes.fabric.policy import Attachment, Switch

TABLE = "bridge nnix"
STORM_PACKETS_PER_SECOND, STORM_BURST_PACKETS = 300, 600
STORM = f"limit rate over {STORM_PACKETS_PER_SECOND}/second burst {STORM_BURST_PACKETS} packets"

# Why a frame is dropped. The names are those of chains and sets (drop_mac, dropped_mac), of counters, and of what operators are told.
REASONS: Mapping[str, str] = {
    "mac": "source MAC address is not registered for the port",
    "ethertype": "neither IPv4, IPv6 nor ARP",
    "group": "broadcast, multicast or link protocol other than ARP and neighbour discovery",
    "storm": "more broadcast and multicast than a router needs",
    "arp": "ARP for an address that is not the port's own",
    "nd": "neighbour discovery for an address or a MAC that is not the port's own, or with a forged hop limit",
    "address": "source address on the LAN is not the port's own",
    "control": "router advertisement, redirect, DHCP or a routing protocol of the link",
    "drained": "BGP at a drained port",
}

# Sets of what is let in: whose entry goes is heard no more. The driver reads these names, in a comment, for what a plan says.
PERMITTED = ("ports", "private", "macs", "arp4", "own4", "own6", "targets", "inner")

LINK_LOCAL = "fe80::/10"

# A line with $LAN4 or $NEAR6 stands once for each prefix: to compare with a few costs a packet less than to look in a set of ranges.
RULES = """\
	chain port {
		iifname . ether saddr != @macs goto drop_mac
		ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 jump to_group
		ether type ip goto from_v4
		ether type ip6 goto from_v6
		ether type arp goto from_arp
		goto drop_ethertype
	}
	chain to_group {
		ether daddr ff:ff:ff:ff:ff:ff ether type arp goto limited
		ether daddr & ff:ff:00:00:00:00 == 33:33:00:00:00:00 icmpv6 type { 135, 136 } goto limited
		goto drop_group
	}
	chain limited {
		iifname @storm goto drop_storm
	}
	chain from_arp {
		arp htype != 1 goto drop_arp
		arp ptype != ip goto drop_arp
		arp hlen != 6 goto drop_arp
		arp plen != 4 goto drop_arp
		arp operation != { 1, 2 } goto drop_arp
		iifname . arp saddr ether . arp saddr ip @arp4 accept
		arp operation 1 arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @arp4 accept
		goto drop_arp
	}
	chain from_v4 {
		ip saddr $LAN4 iifname . ip saddr != @own4 goto drop_address
		ip daddr 224.0.0.0/3 goto drop_control
		icmp type { 5, 9, 10 } goto drop_control
		ip daddr $LAN4 goto to_lan4
	}
	chain to_lan4 {
		ip protocol { 2, 88, 89, 103, 112 } goto drop_control
		udp dport { 67, 68, 520, 1985, 3222, 5353, 5355 } goto drop_control
		iifname @drained goto cull
	}
	chain from_v6 {
		ip6 hoplimit 255 ip6 nexthdr { 0, 43, 44, 51, 60, 135, 139, 140, 253, 254 } goto drop_nd
		ip6 saddr $NEAR6 iifname . ip6 saddr != @own6 goto drop_address
		meta l4proto icmpv6 goto from_icmp6
		ip6 daddr ff00::/8 goto drop_control
		ip6 daddr $NEAR6 goto to_lan6
	}
	chain from_icmp6 {
		icmpv6 type { 130, 131, 132, 133, 134, 137, 138, 139, 140, 141, 142, 143, 148, 149, 151, 152, 153 } goto drop_control
		icmpv6 type { 135, 136 } goto from_nd
		ip6 daddr ff00::/8 goto drop_control
	}
	chain from_nd {
		ip6 hoplimit != 255 goto drop_nd
		icmpv6 type 136 iifname . @th,64,128 != @targets goto drop_nd
		icmpv6 type 135 ip6 saddr :: iifname . @th,64,128 @targets accept
		iifname . ip6 saddr != @own6 goto drop_nd
		ip6 length 24 accept
		ip6 length != 32 goto drop_nd
		iifname . @th,192,64 != @inner goto drop_nd
	}
	chain to_lan6 {
		meta l4proto { 88, 89, 103, 112 } goto drop_control
		udp dport { 521, 546, 547, 2029, 3222, 5353, 5355 } goto drop_control
		iifname @drained goto cull
	}
	chain cull {
		ip saddr @lans4 ip daddr @lans4 tcp dport 179 goto drop_drained
		ip saddr @lans4 ip daddr @lans4 tcp sport 179 goto drop_drained
		ip6 saddr @near6 ip6 daddr @near6 tcp dport 179 goto drop_drained
		ip6 saddr @near6 ip6 daddr @near6 tcp sport 179 goto drop_drained
	}
	chain circuit {
		ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 goto drop_control
	}
	chain ingress {
		type filter hook prerouting priority -300; policy accept;
		iifname @ports goto port
		iifname @private goto circuit
	}
	chain between {
		type filter hook forward priority -200; policy accept;
		oifname @drained goto cull
	}
	chain output {
		type filter hook output priority -200; policy accept;
		oifname @ports counter drop
		oifname @private counter drop
		oifname @tunnels counter drop
	}
"""


def spell(switch: Switch) -> bytes:
    """The artifact for the driver nftables: the table of this switch."""
    lit = [each for each in switch.attachments if each.bridge is not None]
    ports = [each for each in lit if not each.private]
    sets: dict[str, tuple[str, Iterable[str]]] = {
        "ports": ("type ifname", (_name(each) for each in ports)),
        "private": ("type ifname", (_name(each) for each in lit if each.private)),
        "tunnels": ("type ifname", (f'"{end.vxlan}"' for end in switch.lans if end.vxlan is not None)),
        "drained": ("type ifname", (_name(each) for each in ports if each.drained)),
        "macs": ("type ifname . ether_addr", (f"{_name(each)} . {mac}" for each in ports for mac in each.macs)),
        "arp4": (
            "type ifname . ether_addr . ipv4_addr",
            (f"{_name(each)} . {mac} . {address}" for each in ports for mac in each.macs for address in each.v4),
        ),
        "own4": ("type ifname . ipv4_addr", (f"{_name(each)} . {address}" for each in ports for address in each.v4)),
        "own6": ("type ifname . ipv6_addr", (f"{_name(each)} . {address}" for each in ports for address in each.v6)),
        # nft 1.0.6 has no word for the target of a neighbour message nor for its option, so they are cut out of the packet as numbers.
        "targets": ("typeof iifname . @th,64,128", (f"{_name(each)} . {_number(address)}" for each in ports for address in each.v6)),
        "inner": ("typeof iifname . @th,192,64", (f"{_name(each)} . {option}" for each in ports for option in _options(each))),
        "lans4": ("type ipv4_addr; flags interval", map(str, switch.prefixes_v4)),
        "near6": ("type ipv6_addr; flags interval", (*map(str, switch.prefixes_v6), LINK_LOCAL)),
        "storm": (f"type ifname; {STORM}", (f"{_name(each)} {STORM}" for each in ports)),
    }
    sets |= {f"dropped_{reason}": ("type ifname; counter", (f"{_name(each)} counter" for each in lit)) for reason in REASONS}
    text = [f"# behind {_name(each)}: {' '.join(_behind(each))}\n" for each in lit]
    text += [f"# interrupted by leaving: {' '.join(PERMITTED)}\n# interrupted by joining: drained\n", f"table {TABLE} {{\n"]
    text += [_set(name, kind, members) for name, (kind, members) in sets.items()]
    text += [
        f"\tchain drop_{reason} {{\n\t\tcounter\n\t\tiifname @dropped_{reason} drop\n\t\toifname @dropped_{reason} drop\n\t\tdrop\n\t}}\n"
        for reason in REASONS
    ]
    text += [*_rules(switch), "}\n"]
    return "".join(text).encode()


def _rules(switch: Switch) -> Iterable[str]:
    prefixes = {"$LAN4": [*map(str, switch.prefixes_v4)], "$NEAR6": [*map(str, switch.prefixes_v6), LINK_LOCAL]}
    for line in RULES.splitlines(keepends=True):
        word = next((word for word in prefixes if word in line), None)
        yield from (line.replace(word, prefix) for prefix in prefixes[word]) if word else (line,)


def _behind(each: Attachment) -> list[str]:
    """Whose traffic passes at a port: the sessions behind it; where there is none, its own."""
    return sorted(each.about - {each.of}) or [each.of]


def _name(each: Attachment) -> str:
    return f'"{each.interface}"'


def _number(address: IPv6Address) -> str:
    return f"0x{int(address):032x}"


def _options(each: Attachment) -> Iterable[str]:
    """The source and target link-layer address options of its MAC addresses, as numbers: type, length, address (RFC 4861, 4.6.1)."""
    return (f"0x{kind:02x}01{mac.replace(':', '')}" for kind in (1, 2) for mac in each.macs)


def _set(name: str, kind: str, members: Iterable[str]) -> str:
    listed = sorted(set(members))
    head = "".join(f"\t\t{part.strip()}\n" for part in kind.split(";"))
    elements = f"\t\telements = {{ {', '.join(listed)} }}\n" if listed else ""
    return f"\tset {name} {{\n{head}{elements}\t}}\n"
