"""Marks that a route bears while it is inside: what is remembered of it from one rule to the next, and how to read it without them.

They are large communities under the route server's own ASN, with functions that no wish and nothing we say has. What is said of a route that takes
the long way out stands under an ASN that can be nobody's, until all else that begins with ours has been taken off.
"""

from __future__ import annotations

from nnix.planes.routing.birdc import Entry
from nnix.planes.routing.communities import FARTHER, GROUP, NEARER, PEER, REFUSED, REFUSED_FROM, SAID, WISHES, large_function

TABLE_REFUSED = "refused"

# Functions of large communities that never leave the route server.
HELD_BACK = 4294960000  # :1 NO_EXPORT, :2 NO_ADVERTISE, :3 NO_EXPORT_SUBCONFED
LONG_WAY = 4294960003  # :0 it has wishes, or communities that are not its own to send
CLOSED = 4294960004  # :0 to no one but those who are named
IN_FRONT = 4294960005  # :<n> so often is the announcer's ASN put in front
SESSION = 4294960006  # :<n> on which of its announcer's sessions it came, where there are several
OWN = 4294960007  # :0 it came from the very session that it would go to
NOBODY = 4294960008  # :0 it is for no one
HOP6 = 4294960009  # :0 an IPv4 route with an IPv6 next hop
UNHEARD = 4294960010  # :0 the receiver does not want its announcer's routes
EXCEPTED = 4294960011  # :0 it needs no registration
INSIDE = (HELD_BACK, LONG_WAY, CLOSED, IN_FRONT, SESSION, OWN, NOBODY, HOP6, UNHEARD, EXCEPTED)
NOBODYS_ASN = 4294967295  # RFC 7300; under it stands what we say of a route that takes the long way out
ASIDE = 4294960000  # added to the function there, so that no other community is meant
LAST_SHORT_ASN = 65535  # RFC 7300; under it stand, on the long way out, the exchange's own large communities that begin with our ASN

WELL_KNOWN = {1: "NO_EXPORT", 2: "NO_ADVERTISE", 3: "NO_EXPORT_SUBCONFED"}
_WELL_KNOWN_NUMBERS = {1: "(65535,65281)", 2: "(65535,65282)", 3: "(65535,65283)"}
SAY_FUNCTIONS = tuple(dict.fromkeys(said.function for said in SAID.values()))


def meant(route: Entry) -> Entry:
    """A route of the daemon's table without the marks that it bears only inside, as it would stand in a table of BIRD. Pure."""
    bare = tuple(each for each in route.large if each[1] not in (SESSION, OWN, HOP6, NOBODY, EXCEPTED))
    ours = {asn for asn, function, _ in bare if function == LONG_WAY}
    if not ours:
        return route._replace(large=bare)
    held_back = {value for asn, function, value in bare if asn in ours and function == HELD_BACK}
    (asn,) = ours
    aside = {function + ASIDE: function for function in SAY_FUNCTIONS}
    wishes = {large_function(wish, aim) for wish in WISHES for aim in (PEER, GROUP, NEARER, FARTHER)}
    large = tuple(
        (asn, aside[function], value)
        if admin == NOBODYS_ASN and function in aside
        else (asn if admin == LAST_SHORT_ASN else admin, function, value)
        for admin, function, value in bare
        if admin != asn or function in wishes or function in (REFUSED, REFUSED_FROM)
    )
    standard = " ".join(filter(None, (route.attributes.get("community", ""), *(_WELL_KNOWN_NUMBERS[each] for each in sorted(held_back)))))
    attributes = {**route.attributes, "large_community": " ".join(f"({a}, {b}, {c})" for a, b, c in large)}
    return route._replace(large=large, attributes={**attributes, "community": standard} if standard else attributes)
