"""The members plane as a record of its doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.members.allocate import allocate
from nnix.planes.members.kinds import KINDS
from nnix.planes.members.rules import RULES

PLANE = Plane(name="members", kinds=KINDS, rules=RULES, allocate=allocate)
