"""What Knot says of its zones, and of those that it refused."""

from __future__ import annotations

from nnix.planes.naming.read import refusals, serials

LOG = """2026-11-26T01:27:16+0000 info: [lab.] AXFR, incoming, remote 127.0.0.1@5301, started
2026-11-26T01:27:16+0000 info: [lab.] ZONEMD, verification successful
2026-11-26T01:27:16+0000 info: [lab.] DNSSEC, validation successful
2026-11-26T01:27:16+0000 info: [lab.] refresh, remote 127.0.0.1@5301, zone updated, 0.46 seconds, serial none -> 1, expires in 604800 seconds
2026-11-26T01:28:16+0000 error: [lab.] ZONEMD, verification failed (malformed data)
2026-11-26T01:28:16+0000 error: [lab.] refresh, failed (malformed data), next retry at 2026-11-26T01:27:43+0000
2026-11-26T01:29:16+0000 error: [cn.] refresh, failed (connection reset), next retry at 2026-11-26T01:27:43+0000
"""


def test_the_reason_of_a_refusal_stands_until_a_good_version_came() -> None:
    """The digest is the reason, not that the refresh failed; a zone that was taken since is not refused any more."""
    assert refusals(LOG) == {
        "lab.": "ZONEMD, verification failed (malformed data)",
        "cn.": "refresh, failed (connection reset), next retry at 2026-11-26T01:27:43+0000",
    }
    later = "2026-11-26T01:30:16+0000 info: [lab.] refresh, remote 127.0.0.1@5301, zone updated, 0.46 seconds, serial 1 -> 2\n"
    assert list(refusals(LOG + later)) == ["cn."]


def test_a_zone_without_a_version_has_no_serial() -> None:
    said = "[lab.] role: slave | serial: 7 | transaction: none\n[cn.] role: slave | serial: - | transaction: none\n"
    assert serials(said) == {"lab.": 7}
