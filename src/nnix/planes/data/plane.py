"""The data plane as a record of its doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.data.kinds import KINDS
from nnix.planes.data.rules import RULES

PLANE = Plane(name="data", kinds=KINDS, rules=RULES)
