"""The routing plane's doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.routing.allocate import allocate
from nnix.planes.routing.compile import compile
from nnix.planes.routing.kinds import KINDS
from nnix.planes.routing.prove.findings import findings
from nnix.planes.routing.read import read
from nnix.planes.routing.rules import RULES
from nnix.planes.routing.sources import evidence

PLANE = Plane(name="routing", kinds=KINDS, rules=RULES, evidence=evidence, allocate=allocate, compile=compile, prove=findings, read=read)
