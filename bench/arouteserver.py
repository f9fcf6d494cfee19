"""ARouteServer 1.27 as a peer: how it is installed, what it is told, how it is run, all offline.

It lives in a virtual environment of its own, `.bench/arouteserver`, made on first use from requirements-bench.in. It gets the policy
that nnix has by default, as far as it knows it, and the same clients with the same facts:

* IRR: each client has its ASN and the same registered prefixes. ARouteServer asks a registry over the network by `bgpq4` and caches the answers;
  here its cache is filled beforehand, also for a client that is about to come, so that no question and no network is in the measure.
* RPKI: the same VRP file, read from disk, spelled as static ROAs as nnix does.
* Both address families in one configuration, for BIRD 2.0.11 and newer, the newest that it knows below Debian 12's 2.0.12.

It writes its log to where the bench says; its `debug` lines are taken out, since nnix logs none of that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange import EXCHANGE_ASN, Client
from exchange import vrps as vrps_of

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench/arouteserver"
TARGET = "2.0.11"
_LOGS = re.compile(r'^(?:log syslog|debug protocols) .*\n|^log "[^"]*" all;\n', re.M)


def installed() -> Path:
    """The program. Ends the bench when pip cannot get it."""
    program = VENV / "bin/arouteserver"
    if not program.exists():
        VENV.parent.mkdir(exist_ok=True)
        (VENV.parent / ".gitignore").write_text("*\n")
        print(f"installing ARouteServer into {VENV.relative_to(ROOT)} …", flush=True)
        for argv in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(ROOT / "requirements-bench.in")],
        ):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"ARouteServer cannot be installed, so there is nothing to compare with\n{done.stderr.strip()[-600:]}")
    return program


def _package() -> Path:
    return next((VENV / "lib").glob("python3*/site-packages/pierky/arouteserver"))


@dataclass(frozen=True)
class Server:
    """One route server as ARouteServer is told of it. Everything stands in `folder`; `cache` is shared."""

    name: str
    router_id: str
    folder: Path
    cache: Path

    @property
    def config(self) -> Path:
        return self.folder / "bird.conf"

    def tell(self, everybody: Sequence[Client], limit: int = 32) -> None:
        """Write its input files: the policy, the clients with so many routes at most, the VRPs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        vrps = self.folder / "vrps.json"
        vrps.write_text(vrps_of(list(everybody)))
        package = _package()
        program = {
            "cfg_dir": str(self.folder),
            "cfg_general": "general.yml",
            "cfg_clients": "clients.yml",
            "cfg_bogons": str(package / "config.d/bogons.yml"),
            "templates_dir": str(package / "templates"),
            "cache_dir": str(self.cache),
            "bgpq3_path": "/bin/false",  # the cache answers; a question would be an error
            "check_new_release": False,
            "logging_config_file": str(package / "config.d/log.ini"),
        }
        for name, content in (
            ("arouteserver", program),
            ("general", _general(self.router_id, vrps)),
            ("clients", _clients(everybody, limit)),
        ):
            (self.folder / f"{name}.yml").write_text(json.dumps(content))  # JSON is YAML

    def build(self) -> tuple[float, int]:
        """Run it. (CPU seconds, peak memory in KiB)."""
        draft = self.folder / "draft.conf"
        with (self.folder / "arouteserver.log").open("w") as log:
            process = subprocess.Popen(
                [
                    str(installed()),
                    "bird",
                    "--cfg",
                    str(self.folder / "arouteserver.yml"),
                    "--target-version",
                    TARGET,
                    "-o",
                    str(draft),
                ],
                stdout=log,
                stderr=log,
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"ARouteServer failed: nothing was measured\n{(self.folder / 'arouteserver.log').read_text()[-600:]}")
        text = _LOGS.sub("", draft.read_text())
        self.config.write_text(f'log "{self.folder}/bird.log" all;\n{text}')
        return used.ru_utime + used.ru_stime, used.ru_maxrss


def fill_cache(cache: Path, everybody: Sequence[Client]) -> None:
    """What the registries would have answered."""
    cache.mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    for client in everybody:
        answers: dict[str, Any] = {"as_set": [client.asn]}
        for family, prefixes in ((4, client.prefixes_v4), (6, client.prefixes_v6)):
            answers[f"r_set-ipv{family}"] = [
                {"prefix": str(each.network_address), "length": each.prefixlen, "exact": True, "ge": None, "le": None} for each in prefixes
            ]
        for what, data in answers.items():
            (cache / f"AS{client.asn}-{what}.json").write_text(json.dumps({"ts": now, "data": data}))


def forget_vrps(cache: Path) -> None:
    """It keeps VRPs for an hour; a member who is new has new ones."""
    (cache / "ripe-rpki-cache.json").unlink(missing_ok=True)


def _general(router_id: str, vrps: Path) -> dict[str, Any]:
    def both(all_of_them: str, one: str) -> dict[str, dict[str, str]]:
        return {"any": {"std": "0:rs_as", "lrg": all_of_them}, "peer": {"std": "0:peer_as", "lrg": one}}

    nobody = both("rs_as:0:0", "rs_as:0:peer_as")
    communities: dict[str, Any] = {
        "do_not_announce_to_any": nobody["any"],
        "do_not_announce_to_peer": nobody["peer"],
        "announce_to_peer": {"std": "rs_as:peer_as", "lrg": "rs_as:1:peer_as"},
    }
    for number, word in ((101, "once"), (102, "twice"), (103, "thrice")):
        communities[f"prepend_{word}_to_any"] = {"lrg": f"rs_as:{number}:0"}
        communities[f"prepend_{word}_to_peer"] = {"lrg": f"rs_as:{number}:peer_as"}
    filtering = {
        "next_hop": {"policy": "same-as"},
        "max_as_path_len": 32,
        "reject_invalid_as_in_as_path": True,
        "allow_as_set": False,
        "never_via_route_servers": {"peering_db": False},
        "irrdb": {
            "enforce_origin_in_as_set": True,
            "enforce_prefix_in_as_set": True,
            "allow_longer_prefixes": False,
            "tag_as_set": True,
            "peering_db": False,
        },
        "rpki_bgp_origin_validation": {"enabled": True, "reject_invalid": True},
        "max_prefix": {"peering_db": {"enabled": False}, "action": "restart", "restart_after": 15},
        "roles": {"enabled": True},
    }
    return {
        "cfg": {
            "rs_as": EXCHANGE_ASN,
            "router_id": router_id,
            "path_hiding": True,
            "passive": True,
            "filtering": filtering,
            "rpki_roas": {"source": "ripe-rpki-validator-cache", "ripe_rpki_validator_url": [str(vrps)]},
            "blackhole_filtering": {
                "policy_ipv4": "propagate-unchanged",
                "policy_ipv6": "propagate-unchanged",
                "client_community": {"peering_db": False},
            },
            "graceful_shutdown": {"enabled": True},
            "communities": communities,
        }
    }


def _clients(everybody: Sequence[Client], limit: int) -> dict[str, Any]:
    return {
        "clients": [
            {
                "asn": each.asn,
                "ip": [str(each.v4), str(each.v6)],
                "description": each.name,
                "cfg": {"filtering": {"irrdb": {"as_sets": [f"AS{each.asn}"]}, "max_prefix": {"limit_ipv4": limit, "limit_ipv6": 21}}},
            }
            for each in everybody
        ]
    }
