"""The fabric plane as a record of its doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.fabric.allocate import allocate
from nnix.planes.fabric.compile import compile
from nnix.planes.fabric.kinds import KINDS
from nnix.planes.fabric.prove.findings import findings
from nnix.planes.fabric.read import read
from nnix.planes.fabric.rules import RULES

PLANE = Plane(name="fabric", kinds=KINDS, rules=RULES, allocate=allocate, compile=compile, prove=findings, read=read)
