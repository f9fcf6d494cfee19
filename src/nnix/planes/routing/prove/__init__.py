"""Routing proved before it is touched, by two minds.

One mind is an evaluator: it reads the same policy in values as the spelling does, shares no code with it, and says of every route of every
client whether it is accepted, what it then is, and who is told of it. The other is the daemon itself: the very configuration that shall run,
in namespaces of its own (`planes/routing/trial`). Witnesses, routes that break one rule each, are announced there, and what the daemon did is
held against what the evaluator said.

route.py      a route, as announced and as told        evaluate.py  what becomes of one route, and who is told of it
exchange.py   all routes of all clients at once        witnesses.py routes that show whether a configuration means what the policy says
messages.py   BGP on the wire                          compare.py   what was expected and what was seen
grounds.py    why: the ROA, as-set path or route object that decided      findings.py  what the sources should mend
"""
