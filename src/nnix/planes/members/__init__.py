"""Members: the exchange itself, its sites and carriers, who has joined, and the machines that everything runs on.

All other planes refer to what is named here. Member lists of other exchanges come in and go out here as well: the IX-F
export (`ixf`) and PeeringDB's rows (`peeringdb`).
"""
