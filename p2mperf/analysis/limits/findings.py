"""How large the linear list may be: what the threads asked, and what limits it, at one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.limits.tables import largest_guests, limit_list, limits_by_size
from p2mperf.sizing.answer import limits
from p2mperf.sizing.proof import Proof, prove
from p2mperf.sizing.questions import Reply, reply

SIZES = ("512M", "2049M", "8G", "43G", "64G", "128G", "400G", "512G")
_MIB = (1, 8, 16, 32, 48, 64, 96, 120, 128, 192, 256, 320, 384, 448, 512, 640, 768, 840)
AREAS = tuple(f"{size}M" for size in _MIB)


@dataclass(frozen=True)
class LimitFindings:
    """What is found of the list's limits. `vmalloc_limits` makes one.

    Attributes
    ----------
    by_size : pandas.DataFrame
        Guests of many sizes, as `p2mperf.analysis.limits.tables.limits_by_size` has them.
    by_area : pandas.DataFrame
        The largest 32-bit guests by the vmalloc area, as `largest_guests` has them.
    every : pandas.DataFrame
        Every limit, as `limit_list` has it.
    """

    by_size: pd.DataFrame
    by_area: pd.DataFrame
    every: pd.DataFrame

    @property
    def answer(self) -> str:
        """What was found, in Markdown, a line a sentence."""
        wide, narrow = (limits(entry_bits=bits) for bits in (64, 32))
        lines = [
            f"**A {bits}-bit guest** may have up to {answer.largest_guest_bytes >> 30} GiB:"
            f" {' and '.join(answer.binds)} gives out first. Its list then takes"
            f" {answer.largest_area_bytes >> 20} MiB of virtual area."
            for bits, answer in ((64, wide), (32, narrow))
        ]
        largest = self.by_area["largest_guest_bytes"]
        best = int(self.by_area.loc[largest == largest.max(), "vmalloc_bytes"].min())
        lines.append(
            f"**A larger `vmalloc=`** helps 32 bits up to {best >> 20} MiB; beyond, it takes away low memory."
        )
        return "\n".join(f"* {line}" for line in lines)

    def reply(self, name: str) -> Reply:
        """Answer what the threads of 2014 asked.

        Parameters
        ----------
        name : str
            One of `p2mperf.sizing.QUESTIONS`.

        Returns
        -------
        p2mperf.sizing.questions.Reply
            Question and sentence, and the answers that it rests on.

        Raises
        ------
        BadInputError
            For another name.
        """
        return reply(name)

    def prove(self, vmalloc: str | int) -> Proof:
        """Put the largest 32-bit guest of an area to this machine's kernel.

        Parameters
        ----------
        vmalloc : str or int
            Size of the area [bytes].

        Returns
        -------
        p2mperf.sizing.proof.Proof
            What the kernel did; ``holds`` compares it with the arithmetic.

        Raises
        ------
        BadInputError
            For a size that is none.
        DoesNotFitError
            When this machine's memory does not hold the list.
        P2mperfError
            When the child that builds it could not do its work.
        """
        return prove(limits(entry_bits=32, vmalloc=vmalloc))


def vmalloc_limits(sizes: Sequence[str] = SIZES, areas: Sequence[str] = AREAS) -> LimitFindings:
    """Say how large the linear list may be, and what gives out first.

    Parameters
    ----------
    sizes : sequence of str
        Guest sizes to answer for, at both widths.
    areas : sequence of str
        Sizes of the vmalloc area of a 32-bit kernel, to find the largest guest for.

    Returns
    -------
    LimitFindings

    Raises
    ------
    BadInputError
        For sizes that are none.

    Examples
    --------
    >>> vmalloc_limits(["43G"], ["64M"]).by_size["fits"].tolist()
    [True, True]
    """
    return LimitFindings(limits_by_size(sizes), largest_guests(areas), limit_list())
