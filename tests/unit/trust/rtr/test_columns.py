"""Read by the column, a piece says what the JSON parser says, or nothing."""

from __future__ import annotations

import json
import random
import socket

import pytest

from nnix.planes.trust.rtr.columns import Columns, columns

LAYOUTS = {
    "rpki-client": ('\n\t\t{{ "asn": {asn}, "prefix": "{prefix}", "maxLength": {longest}, "ta": "{ta}", "expires": 1753453058 }}', ","),
    "ours": ('{{"asn": {asn}, "prefix": "{prefix}", "maxLength": {longest}}}', ",\n"),
    "text first": ('{{"ta":"{ta}","maxLength":{longest},"prefix":"{prefix}","asn":{asn}}}', " , "),
    "text last": ('{{"prefix":"{prefix}","maxLength":"{longest}","asn":"{asn}"}}', ",\r\n"),
}
ROWS = [
    ("192.0.2.0/24", 24, 0),
    ("10.0.0.0/8", 32, 64512),
    ("2001:db8::/32", 48, 4294967295),
    ("0.0.0.0/0", 0, 7),
    ("::/0", 128, 10),
    ("198.51.100.128/25", 25, 9),
]


def piece(layout: str, rows: list[tuple[str, int, int]]) -> bytes:
    row, between = LAYOUTS[layout]
    spelled = [row.format(asn=asn, prefix=prefix, longest=longest, ta=("ripe", "apnic", "a-b c")[asn % 3]) for prefix, longest, asn in rows]
    return between.join(spelled).encode()


def parsed(octets: bytes) -> list[tuple[str, int, int]]:
    """By the JSON parser, in the words of `ROWS`. Raises when it is no list of roas."""
    found = []
    for row in json.loads(b"[" + octets + b"]", object_pairs_hook=_once):
        address, _, length = row["prefix"].partition("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert str(int(length)) == length
        found.append((f"{socket.inet_ntop(family, socket.inet_pton(family, address))}/{length}", int(row["maxLength"]), int(row["asn"])))
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def spelled(found: Columns) -> list[tuple[str, int, int]]:
    rows = []
    four, sixteen = iter(range(0, len(found.packed4), 4)), iter(range(0, len(found.packed6), 16))
    for asn, length, longest, six in zip(found.asns, found.lengths, found.longest, found.six, strict=True):
        at = next(sixteen if six else four)
        address = (
            socket.inet_ntop(socket.AF_INET6, found.packed6[at : at + 16])
            if six
            else socket.inet_ntop(socket.AF_INET, found.packed4[at : at + 4])
        )
        rows.append((f"{address}/{length}", int(longest), int(asn)))
    return rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_of_those_who_write_half_a_million_rows_are_read_by_the_column(layout: str) -> None:
    found = columns(piece(layout, ROWS))
    assert found is not None and spelled(found) == ROWS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_any_octet_wrong_it_says_what_json_says_or_nothing(layout: str) -> None:
    """Octets replaced, put in and taken out, of the kind that JSON turns on."""
    chance = random.Random(layout)
    whole = piece(layout, ROWS)
    assert parsed(whole) == ROWS
    agreed = refused = 0
    for _ in range(2000):
        octets = bytearray(whole)
        for _ in range(chance.choice((1, 1, 1, 2))):
            at = chance.randrange(len(octets))
            match chance.randrange(3):
                case 0:
                    octets[at] = chance.choice(b'0123456789 -+.eE,:{}[]"\\/\t\n\x00\x0b\xc3ASnull')
                case 1:
                    octets.insert(at, chance.choice(b'0123456789 -.,:{}[]"\\/\n\x0c'))
                case _:
                    del octets[at]
        found = columns(bytes(octets))
        if found is None:
            refused += 1
            continue
        assert spelled(found) == parsed(bytes(octets)), bytes(octets)
        agreed += 1
    assert refused > 500 and agreed > 100


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{}",
        b'{"asn": "AS1", "prefix": "10.0.0.0/8", "maxLength": 8}, {"asn": "AS1", "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8}, {"asn": -1, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": -1, "prefix": "10.0.0.0/8", "maxLength": 8}, {"asn": -2, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1.0, "prefix": "10.0.0.0/8", "maxLength": 8}, {"asn": 1.0, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1, "asn": 2, "prefix": "10.0.0.0/8", "maxLength": 8}, {"asn": 1, "asn": 2, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8},\x0b{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8}',
        b'{"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8, "x": null}, {"asn": 1, "prefix": "10.0.0.0/8", "maxLength": 8, "x": null}',
        b'{"prefix": "10.0.0.0/8", "asn": 1, "maxLength": 8}, {"maxLength": 8, "asn": 1, "prefix": "10.0.0.0/8"}',
    ],
)
def test_what_is_not_all_alike_is_left_to_json(octets: bytes) -> None:
    assert columns(octets) is None
