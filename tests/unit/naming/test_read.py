"""What Knot says of its zones, and of those that it refused."""

from __future__ import annotations

from nnix.planes.naming.read import followed, guarded, refusals, serials

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


def test_a_registry_that_was_away_and_has_nothing_newer_holds_no_zone() -> None:
    """Seen with the example: it was held for ever. And of failures the newest is told, since an old one says when it was tried next."""
    up = "2026-11-26T01:30:16+0000 info: [{}] refresh, remote 127.0.0.1@8400, remote serial 1, zone is up-to-date, expires in 604800 seconds\n"
    assert refusals(LOG + up.format("cn.") + up.format("lab.")) == {}
    again = "2026-11-26T01:31:16+0000 error: [{}] refresh, failed (no usable master), next retry at 2026-11-26T01:40:00+0000\n"
    assert refusals(LOG + again.format("cn.") + again.format("lab.")) == {
        "lab.": "ZONEMD, verification failed (malformed data)",
        "cn.": "refresh, failed (no usable master), next retry at 2026-11-26T01:40:00+0000",
    }


def test_a_zone_without_a_version_has_no_serial() -> None:
    said = "[lab.] role: slave | serial: 7 | transaction: none\n[cn.] role: slave | serial: - | transaction: none\n"
    assert serials(said) == {"lab.": 7}


FOLLOWED = """; autotrust trust anchor file
;;id: . 1
.	2	IN	DNSKEY	257 3 13 yuct0+BlM6jDLkrAWHFiqth2OaOKgmtMZVxK7utVTsNnEtv1hMuTjeP8yCWpDzZg380nhnsRfhdkGb8VbtjGVA== ;{id = 3068 (ksk), size = 256b} ;;state=2 [  VALID  ] ;;count=0 ;;lastchange=1795672934 ;;Thu
.	2	IN	DNSKEY	385 3 13 W70w8CY15YbUadStuBvoj+V2OfhegRNQIpMxf3AA9k2MrnV931Z82NvqokQrZtiU9jE8uzbGEFNCy3adGGXwtA== ;{id = 20331 (ksk), size = 256b} ;;state=4 [ REVOKED ] ;;count=0 ;;lastchange=1795672936 ;;Thu
.	2	IN	DNSKEY	257 3 13 no-base64 ;;state=2 [  VALID  ]
. IN DS 46344 13 2 ADD4B5CC3185E01129E7BC5ACF8B31A84C172A6DC6CA5F22A45F26F2A3265BF4
"""


def test_a_followed_key_has_the_ds_that_the_model_would_write() -> None:
    """Unbound counts the revoked one under another tag, since its flags have changed; the model knows it by its former one."""
    assert {key.split()[0]: state for key, state in followed(FOLLOWED).items()} == {"3068": "valid", "20203": "revoked"}


def test_what_the_guard_says_is_taken_if_it_can_be_read() -> None:
    assert guarded(b'{"at": 1, "refused": {"zj.": "no DNSKEY"}}') == {"zj.": "no DNSKEY"}
    assert guarded(b"[]") == guarded(b"{") == guarded(b"") == {}
