"""A server's policy in OpenBGPD's language (7.7 and newer; what 7.7 lacks is asked for by name, and refused there).

OpenBGPD has no functions, variables or negation: rules stand in a row, the first `quick` one that fits decides, and `match` changes the
route on its way. So a test that must *fail* to refuse is spelled backwards: the route is first marked with the reason's own community, the
mark is taken off where the test passes, and whoever still bears it is refused (words.py). The same way a wish is remembered from one rule to
the next (marks.py).

What is refused leaves the daemon's table, and nothing would say why. So there is a second table, `refused`, which takes no part in choosing:
its rules are the same tests, but let in exactly what the others keep out, under the reason's community (inward.py). `read.py` looks there.

`rde evaluate all` is what hides nothing behind a best path (RFC 7947, 2.3.1): where the best route may not go to a member, the next best is
tried. The Adj-RIB-In keeps what members sent, so that a new policy, route object or ROA is applied without asking anything of them.

It gives up as well when the best route is the member's own, and tells it nothing where BIRD tells the second best; so that a route does not go
where it came from is a rule here, too (outward.py).

Three things OpenBGPD does unasked, and a route server must not. It keeps routes with NO_EXPORT and its kin to itself (7.7 always, 8.8 unless
`transparent-as`); they are hidden under communities of our own while inside. It ends the session of who sends a foreign first AS, and drops
paths that hold its own, unsaid; both are turned off, and are rules here. Whether an AS_SET is taken differs between versions; it is said.
Such a path, and an OTC leak (RFC 9234), the daemon itself finds before any rule is asked; they stay in the Adj-RIB-In, marked.

Communities of ours that a member may not send (RFC 7454, 11) cannot be told from its wishes by a range, as there are none. Those that we use
ourselves are taken off on the way in; all others lead the route to the long way out, where nothing of ours is left on it but what we say. A
route without any wish takes the short way: one rule.
"""
