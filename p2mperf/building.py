"""`p2mperf.build`: tables of a design, by its name.

To a type checker the name says which class comes back, and with it what the design can do beside what every
one can: `p2mperf.build("pv-tree", guest)` has what writes to a p2m. A name that is not known before it
runs, and that of a design of another package, give a `Design`; what that can do besides is asked by the
protocols of `p2mperf.designs.capabilities`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from p2mperf.designs.arm.vlpt import ArmVlpt
    from p2mperf.designs.arm.walk import ArmWalk, ArmWalkDirect, ArmWalkThrashing
    from p2mperf.designs.backing import Backing
    from p2mperf.designs.base import Design
    from p2mperf.designs.hap.linear import HapLinear, HapLinear2m, HapLinear4k
    from p2mperf.designs.hap.walk import HapWalk, HapWalk2m, HapWalk4k
    from p2mperf.designs.pv.linear import PvLinear
    from p2mperf.designs.pv.linear_nested import PvLinearNested
    from p2mperf.designs.pv.paged import PvLinear2m, PvLinear4k, PvTree2m, PvTree4k
    from p2mperf.designs.pv.tree import PvTree
    from p2mperf.guests.guest import Guest

    _For = Guest | str
    _On = str | Backing
    # Of a family, those that can be written: what they have in common is what one of several names gives.
    _PvNames = Literal["pv-tree", "pv-linear", "pv-tree-4k", "pv-tree-2m", "pv-linear-4k", "pv-linear-2m"]
    _PvDesigns = PvTree | PvLinear | PvTree4k | PvTree2m | PvLinear4k | PvLinear2m
    _ArmNames = Literal["arm-walk", "arm-walk-thrashing", "arm-walk-direct", "arm-vlpt"]
    _ArmDesigns = ArmWalk | ArmWalkThrashing | ArmWalkDirect | ArmVlpt
    _HapNames = Literal[
        "hap-walk", "hap-linear", "hap-walk-2m", "hap-linear-2m", "hap-walk-4k", "hap-linear-4k"
    ]
    _HapDesigns = HapWalk | HapLinear | HapWalk2m | HapLinear2m | HapWalk4k | HapLinear4k


@overload
def build(design: Literal["pv-tree"], guest: _For, backing: _On = ..., **options: object) -> PvTree: ...
@overload
def build(design: Literal["pv-linear"], guest: _For, backing: _On = ..., **options: object) -> PvLinear: ...
@overload
def build(
    design: Literal["pv-linear-nested"], guest: _For, backing: _On = ..., **options: object
) -> PvLinearNested: ...
@overload
def build(design: Literal["pv-tree-4k"], guest: _For, backing: _On = ..., **options: object) -> PvTree4k: ...
@overload
def build(design: Literal["pv-tree-2m"], guest: _For, backing: _On = ..., **options: object) -> PvTree2m: ...
@overload
def build(
    design: Literal["pv-linear-4k"], guest: _For, backing: _On = ..., **options: object
) -> PvLinear4k: ...
@overload
def build(
    design: Literal["pv-linear-2m"], guest: _For, backing: _On = ..., **options: object
) -> PvLinear2m: ...
@overload
def build(design: Literal["arm-walk"], guest: _For, backing: _On = ..., **options: object) -> ArmWalk: ...
@overload
def build(
    design: Literal["arm-walk-thrashing"], guest: _For, backing: _On = ..., **options: object
) -> ArmWalkThrashing: ...
@overload
def build(
    design: Literal["arm-walk-direct"], guest: _For, backing: _On = ..., **options: object
) -> ArmWalkDirect: ...
@overload
def build(design: Literal["arm-vlpt"], guest: _For, backing: _On = ..., **options: object) -> ArmVlpt: ...
@overload
def build(design: Literal["hap-walk"], guest: _For, backing: _On = ..., **options: object) -> HapWalk: ...
@overload
def build(design: Literal["hap-linear"], guest: _For, backing: _On = ..., **options: object) -> HapLinear: ...
@overload
def build(
    design: Literal["hap-walk-2m"], guest: _For, backing: _On = ..., **options: object
) -> HapWalk2m: ...
@overload
def build(
    design: Literal["hap-linear-2m"], guest: _For, backing: _On = ..., **options: object
) -> HapLinear2m: ...
@overload
def build(
    design: Literal["hap-walk-4k"], guest: _For, backing: _On = ..., **options: object
) -> HapWalk4k: ...
@overload
def build(
    design: Literal["hap-linear-4k"], guest: _For, backing: _On = ..., **options: object
) -> HapLinear4k: ...
@overload
def build(
    design: Literal["pv-tree", "pv-linear"], guest: _For, backing: _On = ..., **options: object
) -> PvTree | PvLinear: ...
@overload
def build(
    design: Literal["hap-walk", "hap-linear"], guest: _For, backing: _On = ..., **options: object
) -> HapWalk | HapLinear: ...
@overload
def build(design: _PvNames, guest: _For, backing: _On = ..., **options: object) -> _PvDesigns: ...
@overload
def build(design: _ArmNames, guest: _For, backing: _On = ..., **options: object) -> _ArmDesigns: ...
@overload
def build(design: _HapNames, guest: _For, backing: _On = ..., **options: object) -> _HapDesigns: ...
@overload
def build(design: str, guest: _For, backing: _On = ..., **options: object) -> Design: ...
def build(design: str, guest: Guest | str, backing: str | Backing = "kernel", **options: object) -> Design:
    """Build a design's tables for a guest.

    Parameters
    ----------
    design : str
        A name of `p2mperf.designs`.
    guest : Guest or str
        A guest, or its name: of a preset, or as results call one with nothing but RAM, ``pv-64-8g``.
    backing : str or Backing
        Page sizes of the views: "kernel", which is what the family's system has (PV: 4 KiB throughout; ARM:
        tables on 2 MiB, windows on 4 KiB pages), "mixed" (direct map on 2 MiB, windows on 4 KiB pages),
        "small", "huge" or "swapped".
    **options
        What the design takes, by the names in its class' `options`: ``above="invalid"``, ``limit=...``,
        ``max_domain_pages=...``, ``run_frames=...``

    Returns
    -------
    Design
        A context manager; its memory is given back on `close`.

    Raises
    ------
    BadInputError
        For an unknown design, guest or option.
    DoesNotFitError
        When memory or mappings do not suffice.

    Examples
    --------
    >>> with build("pv-tree", "domu-64-2049m") as p2m:
    ...     p2m.footprint().pages["leaf"]
    1025
    """
    from p2mperf.designs import find
    from p2mperf.guests.guest import Guest

    kind = find(design)
    guest = guest if isinstance(guest, Guest) else Guest.named(guest)
    _require_room(kind, guest, backing, options)
    return kind(guest, backing, **options)


def _require_room(
    kind: type[Design], guest: Guest, backing: str | Backing, options: Mapping[str, object]
) -> None:
    """Refuse tables that memory does not hold: a kernel that runs out kills instead."""
    from p2mperf.families import find_family
    from p2mperf.host.memory import require_memory

    kind.check_options(options)
    if guest.geometry.name not in find_family(kind.family).geometries:
        return  # the design says better what is wrong
    footprint = kind.predict_footprint(guest, backing=kind.backing_of(backing), **options)
    n_bytes = footprint.memory_bytes + footprint.page_table_bytes
    require_memory(n_bytes, f"{kind.name} of {guest.name}")
