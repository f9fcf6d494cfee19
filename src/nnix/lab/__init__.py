"""The lab: a whole exchange on one Linux machine. Hosts are namespaces, cables are veth pairs, members are real routers.

The lab is no mock. Everything that a real exchange runs is compiled by the same planes and driven by the same drivers;
the lab only adds what lies outside the exchange: the cables, the members' routers, and the SSH servers of machines that
are reached over SSH. It is a plane like any other, on top of the rest, and takes part only where `Exchange.lab` is true.
"""
