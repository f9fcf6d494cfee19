"""iproute2: which interfaces, addresses, forwarding entries, routes, shapers and kernel settings a machine shall have.

There is no daemon here, and no parser of one: the kernel itself holds the state, `ip`, `bridge` and `tc` carry it. An
artifact is a list of facts that shall be, one JSON object a line. `look` reads the kernel once, by one shell that asks a
handful of tools; `drive` computes what is missing from what was seen, and hands it over in one more shell that runs each
tool once, with a batch. However many ports a switch has, that is two commands.

Bridges, tunnels (VXLAN, RFC 7348) and VLAN interfaces (IEEE 802.1Q) are made and taken away here. A *wire* belongs to the machine, as hardware does, or
to the lab that laid it: it is set up, never made and never deleted. What nobody wished for is left alone; what we wished
for once and no longer do is taken away. That needs a memory: the file `iproute/<name>/applied`. It is widened to
old-and-new before the kernel is touched and narrowed to new afterwards, so that after a kill at any point everything
of ours is still known to be ours. Kernel settings go back to what was found before us.

    facts.py        the vocabulary, and how it is written down and read
    seen.py         what the kernel has, as the tools print it
    difference.py   what separates the two, in words
    way.py          the lines that make one into the other
    watch.py        what goes, as the kernel tells it, and what of it comes back in haste
    steps.py        what a plan says of a change
    driver.py       all of it at work on a host

Pitfalls kept here: an interface is always named behind the word `dev` (one called `a` would be read as `address`); a
batch goes on behind a mistake (-force), so that one bad port does not cost the others theirs.
"""

from nnix.daemons.iproute.driver import DOT1Q, DOT1Q_MEND, IPROUTE

__all__ = ["DOT1Q", "DOT1Q_MEND", "IPROUTE"]
