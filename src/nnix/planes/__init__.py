"""The planes: one folder for each thing that members exchange, every one with the same doors.

`PLANES` is the whole list, top to bottom: what a plane derives belongs to itself or to one further down. Nothing registers
itself; a new plane is a folder and a row here (docs/add-a-plane.md).
"""

from nnix.kernel.plane import Plane
from nnix.planes.account.plane import PLANE as ACCOUNT
from nnix.planes.compute.plane import PLANE as COMPUTE
from nnix.planes.data.plane import PLANE as DATA
from nnix.planes.fabric.plane import PLANE as FABRIC
from nnix.planes.members.plane import PLANE as MEMBERS
from nnix.planes.naming.plane import PLANE as NAMING
from nnix.planes.routing.plane import PLANE as ROUTING
from nnix.planes.trust.plane import PLANE as TRUST

PLANES: tuple[Plane, ...] = (MEMBERS, COMPUTE, DATA, FABRIC, TRUST, ROUTING, NAMING, ACCOUNT)
