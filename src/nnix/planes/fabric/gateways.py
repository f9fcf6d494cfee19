"""Spells for nftables what may pass between a switch itself and what is behind its ports.

A port that is on no bridge ends in the switch's own IP stack: the cable to a member's gateway, where circuits are handed over by VNI; what has no tag
on a cable where they are handed over by VLAN; and a port in light behind which there is nobody yet. The switch ends the tunnels of all LANs and routes the underlay, and Linux takes a VXLAN packet for
whichever tunnel has its VNI, from whatever address and over whatever interface it came: who gets one packet to the switch can put any
frame on any LAN. So a table of its own lets in only what comes from a gateway, to our end, with a VNI that was handed to it. All
else is dropped and counted, before it is routed. Nor does the switch say anything there but VXLAN to a gateway: no neighbour discovery of its own, no MLD.

All ports are meant, plugged in or not, so that none is open for the moment in which it comes to a bridge or leaves one: what comes out of a bridge
has the bridge's name, and is none of this table's business. Ports that carry a name of nnix's need no entry of their own.

A fragment is dropped whatever it is, since only the first carries a VNI; cables to gateways have room for the largest frame (RFC 7348, 4.3).
ARP is no IP and passes, so that a gateway is found; iproute.py sees to it that the switch answers for the cable's own address only.
"""

from __future__ import annotations

from nnix.planes.fabric.policy import Switch

TABLE = "inet nnix_gateways"
VXLAN_PORT = 4789
VNI = "@th,96,24"  # behind UDP's 8 octets and VXLAN's 4 of flags (RFC 7348, 5)

RULES = f"""\
	chain ingress {{
		type filter hook prerouting priority -300; policy accept;
		iifname "p-*" goto gateway
		iifname @cables goto gateway
	}}
	chain gateway {{
		iifname . ip saddr . ip daddr @ends udp dport {VXLAN_PORT} iifname . {VNI} @handed ip frag-off & 0x3fff == 0 accept
		counter drop
	}}
	chain output {{
		type filter hook output priority -200; policy accept;
		oifname "p-*" goto towards
		oifname @cables goto towards
	}}
	chain towards {{
		oifname . ip daddr . ip saddr @ends udp dport {VXLAN_PORT} accept
		counter drop
	}}
"""


def spell(switch: Switch) -> bytes:
    """The artifact for the driver nftables: a table for this switch and its ports."""
    cables = [
        f'"{each.interface}"'
        for each in switch.attachments
        if each.cable and not each.tester and not each.interface.startswith(("p-", "rc-"))
    ]
    behind = [(f'"{each.interface}"', each.gateway) for each in switch.attachments if each.gateway is not None]
    ends = [f"{name} . {gateway.theirs} . {gateway.ours}" for name, gateway in behind]
    handed = [f"{name} . 0x{vni:06x}" for name, gateway in behind for vni in gateway.vnis]
    sets = (
        _set("cables", "type ifname", cables),
        _set("ends", "type ifname . ipv4_addr . ipv4_addr", ends),
        _set("handed", f"typeof iifname . {VNI}", handed),
    )
    return "".join((f"table {TABLE} {{\n", *sets, RULES, "}\n")).encode()


def _set(name: str, kind: str, members: list[str]) -> str:
    elements = f"\t\telements = {{ {', '.join(sorted(members))} }}\n" if members else ""
    return f"\tset {name} {{\n\t\t{kind}\n{elements}\t}}\n"
