"""What an operator writes for `nnix trust what-if`: a ROA, or a file of routes; anything else is refused in words, before it is judged."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import click
import pytest

from nnix.cli.ahead import _roa, _routes
from nnix.cli.root import Setting
from nnix.planes.trust.payloads import Vrp

ROUTE = {"prefix": "192.0.2.0/24", "as_path": "64500 64496", "member": "a"}


def test_a_roa_is_written_as_prefixes_and_an_as() -> None:
    assert _roa("192.0.2.0/24-25,2001:db8::/32,AS64496") == (
        Vrp(ip_network("192.0.2.0/24"), 25, 64496),
        Vrp(ip_network("2001:db8::/32"), 32, 64496),
    )
    assert _roa("0.0.0.0/0,as4294967295") == (Vrp(ip_network("0.0.0.0/0"), 0, 4294967295),)
    assert _roa("::/0-128,0") == (Vrp(ip_network("::/0"), 128, 0),)


@pytest.mark.parametrize(
    "text",
    ["", "AS1", ",AS1", "192.0.2.1/24,AS1", "192.0.2.0/24-,AS1", "192.0.2.0/24-+25,AS1", "192.0.2.0/24,1_0", "192.0.2.0/24,AS-1",
     "192.0.2.0/24-33,AS1", "192.0.2.0/24-23,AS1", "192.0.2.0,AS1", "192.0.2.0/255.255.255.0,AS1", "2001:db8::1%eth0/128,AS1",
     "192.0.2.0/24,AS4294967296", "192.0.2.0/24,AS\u0661", "192.0.2.0/24,A\u017f1", "3221225984/24,AS1"],
)  # fmt: skip
def test_what_is_no_roa_is_refused(text: str) -> None:
    """Among them what Python takes for a number or a network, and no ROA can say."""
    with pytest.raises(click.BadParameter):
        _roa(text)


@pytest.mark.parametrize(
    "content",
    [None, {}, [1], ["x"], [{**ROUTE, "prefix": "x"}], [{**ROUTE, "prefix": "192.0.2.1/24"}], [{**ROUTE, "prefix": 12}], [{**ROUTE, "as_path": [1]}],
     [{**ROUTE, "as_path": "99999999999"}], [{**ROUTE, "as_path": "1" * 5000}], [{**ROUTE, "member": None}, ROUTE], [{"prefix": "192.0.2.0/24"}]],
)  # fmt: skip
def test_a_file_that_holds_no_routes_is_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(content))
    with pytest.raises(click.UsageError, match="is not what `nnix routes --json` prints: "):
        _routes(Setting(tmp_path, None), file)


def test_a_path_that_ends_in_no_number_has_no_origin(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps([ROUTE, {**ROUTE, "as_path": "64500 {1,2}"}, {**ROUTE, "as_path": "\u00b2"}, {**ROUTE, "as_path": ""}]))
    assert sorted(_routes(Setting(tmp_path, None), file).origins.tolist()) == [0, 64496]
