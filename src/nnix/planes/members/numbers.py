"""Which AS numbers stand for a network, and which are set aside.

The registry is IANA's (Autonomous System Numbers; Special-Purpose AS Numbers). Numbers set aside for private use leak and
meet their doubles elsewhere; reserved ones never identify anybody; documentation numbers stand for networks in books and
laboratories. The rules of this plane and the importers of member lists ask the same question here, so that what is
imported is also admitted.
"""

from __future__ import annotations

from typing import NamedTuple


class SetAside(NamedTuple):
    """A range of AS numbers, both ends included, that identifies no network of the public Internet."""

    first: int
    last: int
    purpose: str
    source: str


RESERVED = "reserved"
PRIVATE = "private"
DOCUMENTATION = "documentation"

SET_ASIDE: tuple[SetAside, ...] = (
    SetAside(0, 0, RESERVED, "RFC 7607"),
    SetAside(23456, 23456, RESERVED, "RFC 6793, 9 (AS_TRANS)"),
    SetAside(64496, 64511, DOCUMENTATION, "RFC 5398"),
    SetAside(64512, 65534, PRIVATE, "RFC 6996"),
    SetAside(65535, 65535, RESERVED, "RFC 7300"),
    SetAside(65536, 65551, DOCUMENTATION, "RFC 5398"),
    SetAside(65552, 131071, RESERVED, "IANA, Autonomous System Numbers"),
    SetAside(4200000000, 4294967294, PRIVATE, "RFC 6996"),
    SetAside(4294967295, 4294967295, RESERVED, "RFC 7300"),
)


def set_aside(asn: int) -> SetAside | None:
    """The range set aside that `asn` lies in; None when it may stand for a network."""
    return next((each for each in SET_ASIDE if each.first <= asn <= each.last), None)


# Registries whose objects PeeringDB and IRR mirrors accept before "::"; another word there is a slip or a private registry.
_REGISTRIES = (
    "AFRINIC ALTDB APNIC ARIN ARIN-NONAUTH BBOI BELL CANARIE CNNIC IDNIC IRINN JPIRR JPNIC KRNIC LACNIC LEVEL3 NESTEGG "
    "NTTCOM PANIX RADB REACH RGNET RIPE RIPE-NONAUTH TC TWNIC VNNIC"
)
REGISTRIES: frozenset[str] = frozenset(_REGISTRIES.split())

# ISO 3166-1 alpha-2, officially assigned codes.
_COUNTRIES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES: frozenset[str] = frozenset(_COUNTRIES.split())
UNKNOWN_COUNTRY = "ZZ"


def user_assigned(country: str) -> bool:
    """Whether ISO 3166-1 leaves `country` to its users (AA, QM-QZ, XA-XZ, ZZ): no country's code, so it can mean "unknown"."""
    return country in ("AA", UNKNOWN_COUNTRY) or country[0] == "X" or "QM" <= country <= "QZ"
