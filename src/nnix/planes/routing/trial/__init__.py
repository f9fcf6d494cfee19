"""The candidate, tried: the very configuration that shall run, in the daemon that shall run it, beside production and out of its sight.

Two namespaces stand for the exchange: in one the route server with its own addresses, in the other all of its clients with theirs, played by
small BGP speakers, because no honest daemon would send what witnesses must. Nothing of them leaves this machine.

What is announced, and what ought to come of it, is worked out in `planes/routing/prove`, which is pure. Here it is only done and observed.

stand.py   the namespaces, and whether the daemon has nothing left to do       speakers.py  the clients
bird.py    BIRD's tables and sessions, read                                    run.py       witnesses announced, one round after another
"""
