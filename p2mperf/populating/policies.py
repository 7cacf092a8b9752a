"""Who asks for a guest's memory, and how: versions of Xen's builder, and what was proposed beside them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """A way to give a guest its memory.

    Attributes
    ----------
    name : str
        As users call it.
    meaning : str
        What it does.
    is_builder : bool
        The builder asks for extents of a size; otherwise the hypervisor finds them in a list of frames.
    asks_1gb : bool
        The builder asks for extents of 1 GiB too.
    clips_1gb : bool
        What it asks for at a time ends where a GiB ends.
    looks_at_gfn : bool
        What must be aligned is the gfn; otherwise it is the index in the list of frames, which is 256 MiB
        behind above the hole below 4 GiB.
    """

    name: str
    meaning: str
    is_builder: bool = True
    asks_1gb: bool = True
    clips_1gb: bool = True
    looks_at_gfn: bool = True


_POLICIES = (
    Policy("builder", "Xen's domain builder since 4.1: 1 GiB, then 2 MiB, then 4 KiB"),
    Policy(
        "builder-2008",
        "the builder of Xen 3.3 to 4.0: 2 MiB, then 4 KiB",
        asks_1gb=False,
        clips_1gb=False,
        looks_at_gfn=False,
    ),
    Policy(
        "builder-2010-04-06",
        "its first version with 1 GiB, which steps over each boundary of one and finds none",
        clips_1gb=False,
        looks_at_gfn=False,
    ),
    Policy(
        "builder-2010-04-22",
        "the version after that, whose extents of 1 GiB above 4 GiB are aligned to 2 MiB only",
        looks_at_gfn=False,
    ),
    Policy(
        "opportunistic",
        "a flat list of 4 KiB requests, of which the hypervisor makes the largest extents that it can: our"
        " reconstruction of what John Byrne proposed in 2007",
        is_builder=False,
    ),
)
POLICIES = {policy.name: policy for policy in _POLICIES}
