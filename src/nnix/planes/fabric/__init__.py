"""Fabric: the exchange's layer 2. Links between sites, members' ports, and the LANs that they meet on."""
