"""The naming plane's doors."""

from __future__ import annotations

from nnix.kernel.plane import Plane
from nnix.planes.naming.compile import compile
from nnix.planes.naming.kinds import KINDS
from nnix.planes.naming.prove import prove
from nnix.planes.naming.read import read
from nnix.planes.naming.rules import RULES

PLANE = Plane(name="naming", kinds=KINDS, rules=RULES, compile=compile, prove=prove, read=read)
