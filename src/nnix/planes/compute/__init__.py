"""Compute: members offer devices, others run jobs on them; the exchange clears the market with what it knows of the network."""
