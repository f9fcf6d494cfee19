"""The compute plane as a record of its doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.compute.allocate import allocate
from nnix.planes.compute.compile import compile
from nnix.planes.compute.derive import derive
from nnix.planes.compute.kinds import KINDS
from nnix.planes.compute.read import read
from nnix.planes.compute.rules import RULES

PLANE = Plane(name="compute", kinds=KINDS, rules=RULES, allocate=allocate, derive=derive, compile=compile, read=read)
