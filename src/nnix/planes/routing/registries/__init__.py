"""Asking routing registries: what irr.py reads is fetched here, bounded in every direction, and guarded before it replaces what was good.

A registry is asked in one of three ways: by the query protocol of IRRd, which RADB and its mirrors speak (`whois`); by running bgpq4, which
speaks it as well (`bgpq4`); or by taking a whole database as it is published (`dump`). What is needed is little, the as-sets of this exchange's
members with all that they name, and the route objects of the ASNs in them; and that is all that is kept, as *answers* (irr.py).

Nobody here trusts a server. An as-set may name itself over others, or half the Internet; a database may be cut short; a mirror may have lost
everything over night and answer all the same. So what comes is compared with what was there (`guard`): an as-set that has grown or shrunk
beyond all measure stays as it was until somebody looks at it, and an answer that has lost most of all routes is no answer. What was good last
is used as long as its age allows (cli/irr.py keeps it, with its time, in ledger and vault); afterwards the operator's rule applies, and none of
the rules there is opens a door.
"""
