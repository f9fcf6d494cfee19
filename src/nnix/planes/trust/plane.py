"""The trust plane's doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.trust.allocate import allocate
from nnix.planes.trust.compile import compile, evidence, prove
from nnix.planes.trust.kinds import KINDS
from nnix.planes.trust.read import read
from nnix.planes.trust.rules import RULES

PLANE = Plane(name="trust", kinds=KINDS, rules=RULES, evidence=evidence, allocate=allocate, compile=compile, prove=prove, read=read)
