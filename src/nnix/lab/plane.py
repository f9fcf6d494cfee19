"""The lab as a plane."""

from nnix.kernel.plane import Plane
from nnix.lab.compile import compile, derive, needed
from nnix.lab.kinds import KINDS
from nnix.lab.read import read
from nnix.lab.rules import RULES

PLANE = Plane(name="lab", kinds=KINDS, rules=RULES, evidence=needed, derive=derive, compile=compile, read=read)
