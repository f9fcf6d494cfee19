"""RTR: how routers get validated payloads from a cache (RFC 6810, RFC 8210, draft-ietf-sidrops-8210bis).

A cache validates, a router only holds the outcome. It asks for everything (Reset Query) or for what changed since a serial
(Serial Query), and is told when there is something new (Serial Notify). Cryptography ends at the cache; the router believes
what arrives, so this is the place where a careless server does the most harm.

    wire      PDUs as values and as bytes; strict, because a length that a peer sent is a claim and not a fact
    records   the set that a table holds: VRPs, router keys, ASPAs, sorted in compact arrays; set algebra
    reading   the canonical JSON of a relying party → records, or the reason why not
    history   session, serial and the changes behind it (RFC 1982); what leads a router from its serial to ours
    keeping   a history as bytes for the disk, so that a restart forgets nothing
    images    the bytes of a full set or of a change, made once for each protocol version
    session   what to answer to a router's PDU: versions, queries, errors
    routers   who is connected, at which serial, how stale

All of these are pure. `planes/trust/serve.py` holds the sockets, files and clock.
"""
