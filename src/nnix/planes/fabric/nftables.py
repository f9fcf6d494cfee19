"""Spells a switch for nftables: what may come in at a port.

Whatever is not known to be right is dropped, cheapest test first: the source MAC is one registered for the port; a group address
gets ARP requests and neighbour discovery only, and few of them; the frame is IPv4, IPv6 or ARP; ARP and neighbour discovery speak for
the port's own addresses; nobody uses another's address of the LAN; control protocols of the link stay at home. What is left
is what an exchange is for: unicast between members' routers.

A packet to an address of the LAN whose upper-layer header cannot be read is dropped, or what is tested above would go by in pieces: an IPv6
first fragment that extension headers fill, so that the UDP or ICMPv6 header lies in a later one (RFC 7112, 5), lengths that lie. nft reads on
behind the end of a packet, in what the frame is padded with; so a first fragment has nothing between its fragment header and the upper-layer
header, no IPv4 option, and is long enough for the latter. Later fragments pass before anything is looked for in them (not every kernel knows that
there is no head in them): nobody makes anything of them without the first. An authentication header and those that nft does not look behind hide what follows, and are dropped for it; what ESP hides, only those find who agreed on a key.

A switch is nobody's neighbour: what is addressed to one of its own MAC addresses would come out of the bridge, be routed into the
underlay, and could carry a tunnel's packet with any frame for any LAN inside. So nothing comes out of a bridge (hook input), and a switch puts nothing on it (hook output).

Neighbour discovery is believed only with hop limit 255 (RFC 4861, 7.1), which no router lets through. So a packet with 255
and an extension header in front, where a filter could be deceived (RFC 7113, RFC 6980), is dropped whatever it is. Protocols are
looked for behind extension headers as well (`meta l4proto`).

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
    "headless": "upper-layer header cannot be read: it lies in a later fragment (RFC 7112), or a length lies",
    "drained": "BGP at a drained port",
}

# Sets of what is let in: whose entry goes is heard no more. The driver reads these names, in a comment, for what a plan says.
PERMITTED = ("ports", "private", "macs", "arp4", "own4", "own6", "targets", "inner")

LINK_LOCAL = "fe80::/10"

# A line with $LAN4, $NEAR6 or $ENDS4 stands once for each prefix or address: to compare with a few costs a packet less than to look in a set of ranges.
# Nothing is added on the way of transit that does not have to be: it is nearly all that passes.
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
		ether daddr & ff:ff:ff:00:00:00 == 33:33:ff:00:00:00 icmpv6 type 135 goto limited
		ether daddr { 33:33:00:00:00:01, 33:33:00:00:00:02 } icmpv6 type 136 goto limited
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
		ip daddr 127.0.0.0/8 goto drop_control
		ip daddr 0.0.0.0/8 goto drop_control
		ip protocol 1 goto from_icmp4
		ip daddr $LAN4 goto to_lan4
	}
	chain from_icmp4 {
		ip frag-off & 0x1fff != 0 accept
		icmp type { 5, 9, 10 } goto drop_control
		ip daddr $LAN4 goto to_lan4
	}
	chain to_lan4 {
		ip saddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } goto drop_address
		ip daddr $ENDS4 goto drop_control
		ip protocol { 2, 51, 88, 89, 103, 112 } goto drop_control
		ip option lsrr exists goto drop_control
		ip option ssrr exists goto drop_control
		ip frag-off & 0x1fff != 0 accept
		ip frag-off & 0x2000 != 0 ip hdrlength != 5 goto drop_headless
		ip frag-off & 0x2000 != 0 ip length < 28 goto drop_headless
		udp dport { 67, 68, 520, 1985, 3222, 5353, 5355, 6696 } goto drop_control
		iifname @drained jump cull
		@th,0,32 & 0 == 0 accept
		goto drop_headless
	}
	chain from_v6 {
		ip6 hoplimit 255 ip6 nexthdr { 0, 43, 44, 60 } goto drop_nd
		ip6 saddr $NEAR6 iifname . ip6 saddr != @own6 goto drop_address
		meta l4proto icmpv6 goto from_icmp6
		ip6 daddr ff00::/8 goto drop_control
		ip6 daddr $NEAR6 goto to_lan6
	}
	chain from_icmp6 {
		icmpv6 type { 130, 131, 132, 133, 134, 137, 138, 139, 140, 141, 142, 143, 148, 149, 151, 152, 153, 154, 155, 157, 158 } goto drop_control
		icmpv6 type { 135, 136 } goto from_nd
		ip6 daddr ff00::/8 goto drop_control
		ip6 daddr $NEAR6 goto to_lan6
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
		ip6 saddr { ::/127, ::ffff:0:0/96, ff00::/8 } goto drop_address
		meta l4proto { 51, 88, 89, 103, 112, 135, 139, 140, 253, 254 } goto drop_control
		rt type 0 goto drop_control
		frag frag-off != 0 accept
		exthdr frag exists jump first_fragment
		udp dport { 521, 546, 547, 2029, 3222, 5353, 5355, 6696 } goto drop_control
		iifname @drained jump cull
		@th,0,32 & 0 == 0 accept
		goto drop_headless
	}
	chain first_fragment {
		ip6 nexthdr != 44 goto drop_headless
		frag nexthdr { 0, 43, 44, 60 } goto drop_headless
		ip6 length < 16 goto drop_headless
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
	chain input {
		type filter hook input priority -200; policy accept;
		iifname @ports counter drop
		iifname @private counter drop
		iifname @tunnels counter drop
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
    prefixes = {
        "$LAN4": [*map(str, switch.prefixes_v4)],
        "$NEAR6": [*map(str, switch.prefixes_v6), LINK_LOCAL],
        "$ENDS4": [str(end) for each in switch.prefixes_v4 for end in (each.network_address, each.broadcast_address)],
    }
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
