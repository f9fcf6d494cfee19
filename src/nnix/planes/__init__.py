"""The planes: one folder for each thing that members exchange, every one with the same doors.

`PLANES` is the whole list, top to bottom: what a plane derives belongs to itself or to one further down. Nothing registers
itself; a new plane is a folder and a row here (docs/add-a-plane.md).

The list is made when it is first asked for. A daemon of one plane (an RTR cache, a guard of names) is a program of its own, of which there may
be many on one machine; it comes by here and needs none of the others.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnix.kernel.plane import Plane

    PLANES: tuple[Plane, ...]


def __getattr__(name: str) -> "tuple[Plane, ...]":
    if name != "PLANES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nnix.planes.fabric.plane import PLANE as FABRIC
    from nnix.planes.members.plane import PLANE as MEMBERS
    from nnix.planes.naming.plane import PLANE as NAMING
    from nnix.planes.routing.plane import PLANE as ROUTING
    from nnix.planes.trust.plane import PLANE as TRUST

    planes = (MEMBERS, FABRIC, TRUST, ROUTING, NAMING)
    globals()[name] = planes
    return planes
