"""The account plane as a record of its doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.account.kinds import KINDS
from nnix.planes.account.rules import RULES

PLANE = Plane(name="account", kinds=KINDS, rules=RULES)
