"""The virtual-linear page table of ARM: whom it serves, what a lookup executes, what is wrong with it.

Tables are really built and really walked; nothing here is timed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import pandas as pd

from p2mperf.analysis.built import built
from p2mperf.designs.arm.checks import acceptance
from p2mperf.designs.arm.posted_defects import DEFECTS, run_scenario
from p2mperf.errors import in_a_row
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import Sender, recurrence, stop_rule
from p2mperf.migration.tracing import Tracer
from p2mperf.migration.writers import Sequential
from p2mperf.model.arndale import ASSUMPTIONS, EVENTS, WAYS, find_ns
from p2mperf.units import PAGE_SIZE

if TYPE_CHECKING:
    from p2mperf.designs.arm.vlpt import ArmVlpt
    from p2mperf.designs.arm.walk import ArmWalk, ArmWalkDirect
    from p2mperf.migration.precopy import Migration

    Arm = ArmVlpt | ArmWalk | ArmWalkDirect

# Where an entry is, in words.
PLACES = {"L1": "entries in L1", "L2": "entries in L2", "RAM": "entries in memory"}
# The ways whose events a lookup in steady state counts, and the designs that go them.
_WAYS = {"arm-walk": "arm-walk", "arm-walk-direct": "arm-walk-direct", "arm-vlpt, TLB hit": "arm-vlpt"}


def vlpt_acceptance() -> pd.DataFrame:
    """Say of guests of many sizes whether the patch takes them as posted, and whether it should.

    Returns
    -------
    pandas.DataFrame
        A row a guest, as `p2mperf.designs.arm.checks.acceptance` has them: ``ram_base_bytes``, ``ram_bytes``,
        ``required_bytes`` as posted and ``needed_bytes`` from address 0, ``n_slots``, ``n_invalidations``,
        ``posted`` and ``correct`` verdicts, and what is ``overwritten``.
    """
    return pd.DataFrame(acceptance())


def vlpt_defects() -> pd.DataFrame:
    """Run the scenarios of what is wrong with the patch, as posted and mended.

    Returns
    -------
    pandas.DataFrame
        A row a scenario: ``name``, ``scenario`` in words, what is found ``as_posted`` and when ``mended``,
        and ``holds_as_posted`` and ``holds_mended``, whether all went as it should.
    """
    rows = []
    for name, scenario in DEFECTS.items():
        posted, mended = (run_scenario(name, as_posted=as_posted) for as_posted in (True, False))
        words = inspect.cleandoc(scenario.__doc__ or "")
        rows.append((name, words, posted.found, mended.found, posted.holds, mended.holds))
    columns = ["name", "scenario", "as_posted", "mended", "holds_as_posted", "holds_mended"]
    return pd.DataFrame(rows, columns=columns)


def vlpt_events(guest_memory: str | int = "1G") -> pd.DataFrame:
    """Count what finding one entry executes, in real tables, beside what arithmetic on the code says.

    Parameters
    ----------
    guest_memory : str or int
        Of the guest, of whose memory a frame in the middle is looked up [bytes].

    Returns
    -------
    pandas.DataFrame
        A row a way and event: ``way``, ``event``, ``n_counted`` and ``n_computed``.

    Raises
    ------
    BadInputError
        For a size that is none.
    DoesNotFitError
        When memory does not suffice.
    """
    guest = Guest.plain(guest_memory, geometry="lpae")
    gfn = int(guest.ram.first_pfn[0]) + guest.n_boot_pages // 2
    rows = []
    for way, design in _WAYS.items():
        with cast("Arm", built(design, guest)) as p2m:
            p2m.lookup([gfn])  # then it is in its steady state: map slots are there to be found
            counted = p2m.events(gfn)
        for event in dict.fromkeys((*EVENTS[way], *counted)):
            rows.append((way, event, counted.get(event, 0), EVENTS[way].get(event, 0)))
    return pd.DataFrame(rows, columns=["way", "event", "n_counted", "n_computed"])


def board_costs() -> pd.DataFrame:
    """Compute what finding an entry takes on the board of the patch; nothing is measured.

    Returns
    -------
    pandas.DataFrame
        A row a way and place of the entries: ``way``, ``place``, ``cost_ns``, and ``low_ns`` to ``high_ns``
        by the range of what is not published [ns].
    """
    rows = [
        {
            "way": way,
            "place": place,
            **{
                column: find_ns(way, residency, ASSUMPTIONS[end])
                for column, end in (("low_ns", "low"), ("cost_ns", "middle"), ("high_ns", "high"))
            },
        }
        for way in WAYS
        for residency, place in PLACES.items()
    ]
    return pd.DataFrame(rows)


def migrate(
    guest_memory: str | int,
    dirty_rate: float,
    bandwidth: float,
    designs: Iterable[str] = ("arm-vlpt", "arm-walk"),
    rule: str = "legacy",
) -> pd.DataFrame:
    """Move a guest that writes to one page after the other: traced in real tables, and by the recurrence.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory [bytes].
    dirty_rate : float
        Pages that it writes in a second.
    bandwidth : float
        Bytes that are sent in a second.
    designs : iterable of str
        ARM designs that trace its writes.
    rule : str
        When to stop: "legacy", "legacy-sent" or "later".

    Returns
    -------
    pandas.DataFrame
        A row a round: ``source`` ("recurrence", or a design), ``number``, ``n_sent`` and ``n_left`` pages,
        ``seconds`` of the round and ``downtime_seconds`` if it were the last, computed by the bandwidth [s];
        ``n_faults``, 0 for the recurrence; ``stopped_by`` in the last row of each source, and ``diverges``.

    Raises
    ------
    BadInputError
        For sizes, rates, rules and designs that are none.
    DoesNotFitError
        When memory does not suffice.

    Examples
    --------
    >>> migrate("16M", 100, 125e6, designs=["arm-vlpt"])["n_left"].round().astype(int).tolist()
    [13, 13]
    """
    guest, stops = Guest.plain(guest_memory, geometry="lpae"), stop_rule(rule)
    moves = [recurrence(Sequential(guest), dirty_rate, bandwidth, stops)]
    for name in in_a_row("designs", designs):
        with cast("Arm", built(name, guest)) as p2m:
            moves.append(Sender(Tracer(p2m), Sequential(guest), dirty_rate, bandwidth).run(stops))
    return pd.DataFrame([row for move in moves for row in _rounds(move)])


def _rounds(move: Migration) -> Iterator[dict[str, object]]:
    for done in move.rounds:
        is_last = done is move.rounds[-1]
        yield {
            "source": move.source,
            "number": done.number,
            "n_sent": done.n_sent,
            "n_left": done.n_left,
            "seconds": done.seconds,
            "downtime_seconds": done.n_left * PAGE_SIZE / move.bytes_per_second,
            "n_faults": done.n_faults,
            "stopped_by": move.stopped_by if is_last else "",
            "diverges": move.diverges,
        }
