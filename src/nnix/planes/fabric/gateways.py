"""Spells for nftables what may come in from members' gateways, where circuits are handed over by VNI.

The cable to a gateway is an IP interface of our switch, and the switch ends the tunnels of all LANs: Linux takes a VXLAN packet for whichever
tunnel has its VNI, from whatever address and over whatever interface it came. So a table of its own lets in only what comes from the gateway, to our
end, with a VNI that was handed to it. All else is dropped and counted, before it is routed. ARP is no IP and passes: the gateway is found by it.

A fragment carries no VNI and is dropped as well; links to gateways have room for the largest frame (RFC 7348, 4.3).
"""

from __future__ import annotations

from nnix.planes.fabric.policy import Switch

TABLE = "inet nnix_gateways"
VXLAN_PORT = 4789
VNI = "@th,96,24"  # behind UDP's 8 octets and VXLAN's 4 of flags (RFC 7348, 5)


def spell(switch: Switch) -> bytes:
    """The artifact for the driver nftables: a table for the gateways behind this switch's ports."""
    behind = [(f'"{each.interface}"', each.gateway) for each in switch.attachments if each.gateway is not None]
    cables = [name for name, _ in behind]
    ends = [f"{name} . {gateway.theirs} . {gateway.ours}" for name, gateway in behind]
    handed = [f"{name} . 0x{vni:06x}" for name, gateway in behind for vni in gateway.vnis]
    lines = [
        f"table {TABLE} {{",
        *_set("cables", "type ifname", cables),
        *_set("ends", "type ifname . ipv4_addr . ipv4_addr", ends),
        *_set("handed", f"typeof iifname . {VNI}", handed),
        "\tchain ingress {",
        "\t\ttype filter hook prerouting priority -300; policy accept;",
        "\t\tiifname @cables jump gateway",
        "\t}",
        "\tchain gateway {",
        f"\t\tiifname . ip saddr . ip daddr @ends udp dport {VXLAN_PORT} iifname . {VNI} @handed return",
        "\t\tcounter drop",
        "\t}",
        "}",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _set(name: str, kind: str, members: list[str]) -> list[str]:
    elements = [f"\t\telements = {{ {', '.join(sorted(members))} }}"] if members else []
    return [f"\tset {name} {{", f"\t\t{kind}", *elements, "\t}"]
