"""IX-F member exports, in and out: what other exchanges and PeeringDB read of us, and we of them.

The format is Euro-IX's (github.com/euro-ix/json-schemas); its schemas lie in `schemas/`. `ixf_read` and `ixf_write` do
the work, `assemble` makes an exchange of what was read.
"""

from __future__ import annotations

import json
from importlib.resources import files

from nnix.kernel.resource import Json
from nnix.planes.members.ixf_read import VERSIONS, read_ixf
from nnix.planes.members.ixf_write import Version, write_ixf
from nnix.planes.members.sheet import Finding, Imported

__all__ = ["VERSIONS", "Finding", "Imported", "Version", "read_ixf", "schema", "write_ixf"]


def schema(version: str) -> Json:
    """The published JSON schema (draft 4) of a version from VERSIONS. Raises KeyError for another."""
    if version not in VERSIONS:
        raise KeyError(f"no schema of version {version}: {', '.join(VERSIONS)}")
    loaded: Json = json.loads((files("nnix.planes.members") / "schemas" / f"ixp-member-list-{version}.schema.json").read_bytes())
    return loaded
