"""The scenarios of 2014 as they must go, frame by frame: the judge of `p2mperf.designs.pv.scenarios`.

Standard library only, beside `naive_life`. A guest has millions of frames, so what is written to a range is
kept as a rule from frame to entry; to ask for a frame is to go back to what was written to it last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from naive import Extent
from naive_life import Life

Rule = Callable[[int], int]

GIB_PAGES = 262144


class RangeLife(Life):
    """A life told in ranges of frames.

    In these scenarios nothing is shared but identity, and no range is written in part.
    """

    told: list[tuple[range, Rule]]

    def fresh(self, n_spare: int) -> RangeLife:
        life = super().fresh(n_spare)
        assert isinstance(life, RangeLife)
        life.told = []
        return life

    def entry(self, pfn: int) -> int:
        return self.as_it_is()(pfn)

    def as_it_is(self) -> Rule:
        """What every frame reads now, also when it is asked for later."""
        told = self.told.copy()

        def entry(pfn: int) -> int:
            for pfns, rule in reversed(told):
                if pfn in pfns:
                    return rule(pfn)
            return self.boot_entry(pfn)

        return entry

    def write(self, pfns: range, rule: Rule) -> None:
        """Write a whole range; a leaf that is identity throughout, and shall be, stays shared."""
        for leaf in range(pfns.start // self.leaf, -(-pfns.stop // self.leaf)):
            pfn = max(pfns.start, leaf * self.leaf)
            if rule(pfn) != self.entry(pfn):
                assert self.break_leaf(leaf)
        self.told.append((pfns, rule))

    def all_invalid(self, pfn: int) -> int:
        return self.invalid


def frames_not_in(extents: list[Extent], n_machine: int) -> list[int]:
    """Machine frames that no extent has, lowest first."""
    taken = bytearray(n_machine)
    for n_frames, first in extents:
        taken[first : first + n_frames] = b"x" * n_frames
    return [mfn for mfn in range(n_machine) if not taken[mfn]]


def head(extents: list[Extent], n_frames: int) -> Iterator[Extent]:
    """The first frames of a boot list."""
    for n_of_extent, first in extents:
        yield min(n_of_extent, n_frames), first
        n_frames -= min(n_of_extent, n_frames)


def balloon(life: RangeLife, n_machine: int) -> Iterator[bool]:
    """Half of the memory down and up, twice, then an eighth above the map: whether each step is done."""
    n_boot = life.boot.n_boot_pages
    half, above = range(n_boot // 2, n_boot), range(n_boot, n_boot + n_boot // 8)
    own = life.as_it_is()
    life.write(half, life.all_invalid)
    yield True
    life.write(half, own)
    yield True
    life.write(half, life.all_invalid)
    yield True
    # Free is what the lower half has not. The lowest go first, and what is handed out next follows them.
    free = frames_not_in([*head(life.boot.extents, n_boot // 2)], n_machine)
    life.write(half, lambda pfn: free[pfn - half.start])
    yield True
    life.write(above, life.all_invalid)
    yield True
    life.write(above, lambda pfn: free[len(half) + pfn - above.start])
    yield True
    # Half of it would be beyond the limit: nothing is written, and below the limit neither.
    yield False


def save_restore(life: RangeLife, n_machine: int) -> Iterator[bool]:
    """What is written is nothing but the tools' tree; which mfns a restore brings, no guest can know."""
    assert life.build_tools()
    yield True
    yield True
    yield False
    yield True
    yield True


def passthrough(life: RangeLife, n_machine: int) -> Iterator[bool]:
    """3 to 4 GiB is identity, its memory is behind the map, and identity goes on behind that."""
    hole, end_of_map = range(3 * GIB_PAGES, 4 * GIB_PAGES), life.boot.map_end
    target = range(end_of_map, end_of_map + GIB_PAGES)
    before = life.as_it_is()
    life.write(target, life.all_invalid)
    yield True
    life.write(hole, life.identity)
    life.write(target, lambda pfn: before(hole.start + pfn - target.start))
    yield True
    life.write(range(target.stop, life.end), life.identity)
    yield True


JUDGES: dict[str, Callable[[RangeLife, int], Iterator[bool]]] = {
    "balloon": balloon,
    "save-restore": save_restore,
    "passthrough": passthrough,
}
