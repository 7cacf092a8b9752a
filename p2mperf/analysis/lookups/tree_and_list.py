"""Tree or list: what a sweep says of the two layouts of a PV guest's p2m, in tables and in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from p2mperf.analysis.labels import LIST, TREE
from p2mperf.analysis.lookups.budget import budget, budget_by_operation, published_times
from p2mperf.analysis.lookups.counted_loads import OF_A_CELL, loads_by_kind, mean_loads
from p2mperf.analysis.lookups.entry_costs import entry_costs, said_of_entries
from p2mperf.analysis.lookups.own_pages import OnOwnPages, on_own_pages
from p2mperf.analysis.lookups.table_sizes import footprints, widths
from p2mperf.analysis.samples import OF_STREAM, operation_label, shares_outside, stays_in_ram
from p2mperf.analysis.summary import summary
from p2mperf.analysis.words import n_of, span
from p2mperf.control import CONTROL
from p2mperf.designs.backing import KERNEL
from p2mperf.errors import BadInputError
from p2mperf.families import families
from p2mperf.measure.operations.registry import entries, lookups
from p2mperf.results.samples import as_samples
from p2mperf.streams import RUN_LOOKUPS
from p2mperf.units import GIB, readable_size

# From here on pages alone can decide which layout looks faster; see docs/design.md.
_PAGES_DECIDE_BYTES = 8 * GIB
# Before such an entry nothing comes that would make it cold.
_TIGHT = "tight"
_IN_WORDS = {"latency": "one after the other", "throughput": "overlapping"}


@dataclass(frozen=True)
class TreeAndList:
    """What a sweep says of tree and list. `tree_and_list` makes one.

    Attributes
    ----------
    samples : pandas.DataFrame
        Lookups of the two designs in warm loops and their entries into a kernel, and the controls.
    loops, entries : pandas.DataFrame
        Their comparisons, as `p2mperf.summary` gives them: of warm loops, judged among each other, and of
        entries.
    backing : str
        On which pages both were.
    n_skipped : int
        Cells that were not measured.
    """

    samples: pd.DataFrame
    loops: pd.DataFrame
    entries: pd.DataFrame
    backing: str
    n_skipped: int

    @property
    def in_ram(self) -> pd.DataFrame:
        """Comparisons in warm loops all of whose frames are RAM."""
        return self.loops[stays_in_ram(self.loops)]

    @property
    def outside(self) -> pd.DataFrame:
        """Comparisons in warm loops some of whose frames are holes or identity."""
        return self.loops[~stays_in_ram(self.loops)]

    @property
    def cold(self) -> pd.DataFrame:
        """Comparisons of entries that meet a flushed TLB, other work, or both."""
        return self.entries[self.entries["preamble"] != _TIGHT]

    @property
    def answer(self) -> str:
        """What was found, in Markdown: a paragraph for each of the three questions."""
        sizes = [readable_size(int(size)) for size in sorted(set(self.loops["guest_bytes"]))]
        guests = f"guests of {' to '.join(dict.fromkeys([sizes[0], sizes[-1]]))}"
        parts = [
            f"Compared are {len(self.loops) + len(self.entries)} cells of {guests}, {self._pages}.",
            f"**In warm loops over RAM the list is faster in {self._won(self.in_ram, LIST)} comparisons and "
            f"the tree in {self._won(self.in_ram, TREE)}.** {_rest(self.in_ram)}",
        ]
        if len(self.outside):
            parts += [
                "**Where a part of the frames is no RAM, but holes or identity, the tree is faster in "
                f"{self._won(self.outside, TREE)} and the list in {self._won(self.outside, LIST)}.** "
                f"{_rest(self.outside)}"
            ]
        if len(self.cold):
            parts += [
                "**As a kernel asks that has just been entered, after a flushed TLB or other work, the list "
                f"is faster in {self._won(self.cold, LIST)} and the tree in {self._won(self.cold, TREE)}.** "
                f"{_rest(self.cold)}"
            ]
        return "\n\n".join(parts)

    @property
    def _pages(self) -> str:
        """On which pages the tables are, in words."""
        sizes = sorted({int(size) for size in self.samples["view_page_bytes"].dropna()})
        on = f"with their tables on pages of {' and '.join(map(readable_size, sizes))}"
        if self.backing == KERNEL:
            return f"{on}, as a PV kernel has them"
        return (
            f"{on} (backing `{self.backing}`, which no PV kernel has: guests of "
            f"{readable_size(_PAGES_DECIDE_BYTES)} and more are left out, for there pages alone can decide)"
        )

    @staticmethod
    def _won(cells: pd.DataFrame, name: str) -> str:
        return n_of(int((cells["faster"] == name).sum()), len(cells))

    def wins(self) -> pd.DataFrame:
        """Count who is faster, a row a question of `answer`.

        Returns
        -------
        pandas.DataFrame
            Rows RAM, holes (or identity) and cold (entries); columns list, tree and comparisons.
        """
        parts = {"RAM": self.in_ram, "holes": self.outside, "cold": self.cold}
        counts = {
            what: ((cells["faster"] == LIST).sum(), (cells["faster"] == TREE).sum(), len(cells))
            for what, cells in parts.items()
        }
        return pd.DataFrame.from_dict(counts, orient="index", columns=["list", "tree", "comparisons"])

    def verdicts(self) -> pd.DataFrame:
        """Count who is faster, a row a kind of lookup.

        Returns
        -------
        pandas.DataFrame
            Columns lookups and frames, both in words, comparisons, list_faster, tree_faster, no_difference,
            open; and the span of tree over list as least_ratio and greatest_ratio.
        """
        loops = self.loops.assign(
            lookups=self.loops["operation"].map(_IN_WORDS).fillna(self.loops["operation"]),
            frames=[_frames(*row) for row in self.loops[list(OF_STREAM[1:])].values],
        )
        met = self.entries.assign(
            lookups=[operation_label("a kernel's entry", preamble) for preamble in self.entries["preamble"]],
            frames="RAM",
        )
        rows = [
            _counted(key, part)
            for cells in (loops, met)
            for key, part in cells.groupby(["lookups", "frames"])
        ]
        table = pd.DataFrame(rows).sort_values("frames", key=lambda frames: frames != "RAM", kind="stable")
        return table.reset_index(drop=True)

    def entry_costs(self) -> pd.DataFrame:
        """What an entry costs more with the tree; see `p2mperf.analysis.lookups.entry_costs`."""
        return entry_costs(self.entries, self.in_ram, _n_asked())

    @property
    def said_of_entries(self) -> str:
        """The same in Markdown, a line a row."""
        return said_of_entries(self.entry_costs(), _n_asked())

    @staticmethod
    def widths() -> pd.DataFrame:
        """What a page of entries covers; see `p2mperf.analysis.lookups.table_sizes`."""
        return widths()

    @staticmethod
    def footprints(sizes: Sequence[str]) -> pd.DataFrame:
        """Pages of either layout for guests that are all RAM; see `p2mperf.analysis.lookups.table_sizes`."""
        return footprints(sizes)

    @staticmethod
    def counted_loads() -> pd.DataFrame:
        """Loads of a lookup by kind of frame; see `p2mperf.analysis.lookups.counted_loads`."""
        return loads_by_kind([TREE, LIST, f"{LIST}-nested"])

    @staticmethod
    def on_own_pages(frame: pd.DataFrame) -> OnOwnPages:
        """Compare designs whose pages are part of them, as `p2mperf.analysis.lookups.own_pages` does.

        Parameters
        ----------
        frame : pandas.DataFrame
            Samples that have such designs, as those of `shipped-backings`.
        """
        return on_own_pages(as_samples(frame))

    def holes(self) -> pd.DataFrame:
        """What holes and identity cost, with the loads that a lookup makes there on average.

        Returns
        -------
        pandas.DataFrame
            A row a guest, stream and operation outside of RAM: guest, stream_label, lookups (in words),
            list_loads and tree_loads (counted, on average; missing where the guest is not known by its name),
            list_ns, tree_ns, ratio and said.
        """
        cells = self.outside
        walked = list(cells[OF_A_CELL].itertuples(index=False, name=None))
        return pd.DataFrame(
            {
                "guest": cells["guest"],
                "stream_label": cells["stream_label"],
                "lookups": cells["operation"].map(_IN_WORDS).fillna(cells["operation"]),
                "list_loads": [mean_loads(LIST, *cell) for cell in walked],
                "tree_loads": [mean_loads(TREE, *cell) for cell in walked],
                "list_ns": cells["reference_ns"],
                "tree_ns": cells["cost_ns"],
                "ratio": cells["ratio"],
                "said": [_finding(*row) for row in cells[["faster", "verdict"]].values],
            }
        ).reset_index(drop=True)

    @property
    def said_of_runs(self) -> str:
        """What holes cost less where they come in runs, which a processor can guess, in Markdown."""
        alike = ["guest", "stream", "hole_fraction", "identity_fraction", "operation"]
        patterns = {name: part.set_index(alike) for name, part in self.outside.groupby("hole_pattern")}
        if not {"random", "runs"} <= patterns.keys():
            return "These results hold no holes in runs: the plan default measures some."
        at_random, in_runs = patterns["random"].align(patterns["runs"], join="inner", axis=0)
        less = 100 - 100 * in_runs[["reference_ns", "cost_ns"]] / at_random[["reference_ns", "cost_ns"]]
        return (
            f"In runs of {RUN_LOOKUPS} lookups or more the same share of holes takes the list "
            f"{span(less['reference_ns'], '.0f')} % less time than at random, and the tree "
            f"{span(less['cost_ns'], '.0f')} %, for as many loads (medians of cells of their own, unpaired). "
            f"In runs the tree is faster in {self._won(in_runs, TREE)} comparisons: tree over list "
            f"{span(in_runs['ratio'])}, and at random {span(at_random['ratio'])}."
        )

    @property
    def published_times(self) -> pd.DataFrame:
        """The table of the 2014 commit, as published; see `p2mperf.analysis.lookups.budget`."""
        return published_times()

    @cached_property
    def budget(self) -> pd.DataFrame:
        """Lookups that would save the published system time; see `p2mperf.analysis.lookups.budget`."""
        loops, met = (cells[cells["entry_bits"] == 64] for cells in (self.loops, self.entries))
        return budget(loops, met, _n_asked())

    @property
    def budget_by_operation(self) -> pd.DataFrame:
        """The same in short: a row an operation."""
        return budget_by_operation(self.budget)


def tree_and_list(frame: pd.DataFrame) -> TreeAndList:
    """Say what samples tell of tree and list, the two layouts of a PV guest's p2m.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, of one machine.

    Returns
    -------
    TreeAndList
        Of those in the kernel's layout; where there are none, of the first backing that there is.

    Raises
    ------
    BadInputError
        When it is no samples, or they compare the two in no loop over RAM.

    Examples
    --------
    >>> import p2mperf
    >>> found = tree_and_list(p2mperf.load("shipped"))
    >>> sorted(set(found.loops["design"]) | set(found.loops["reference"]))
    ['pv-linear', 'pv-tree']
    """
    samples = as_samples(frame)
    pv = samples[samples["family"] == "pv"]
    if not len(pv):
        raise BadInputError("nothing here compares pv-tree with pv-linear: no sample is of a PV guest")
    backing = KERNEL if (pv["backing"] == KERNEL).any() else str(pv["backing"].iloc[0])
    asked = pv[(pv["backing"] == backing) & pv["operation"].isin([*lookups(), *entries()])]
    if backing != KERNEL:
        asked = asked[asked["guest_bytes"] < _PAGES_DECIDE_BYTES]
    both = asked[asked["design"].str.removeprefix(CONTROL).isin([TREE, LIST]).fillna(False)]
    loops, met = (summary(both[both["operation"].isin(names)]) for names in (lookups(), entries()))
    found = TreeAndList(both, loops, met, backing, int((asked["status"] != "done").sum()))
    if not len(found.loops):
        raise BadInputError("nothing here compares pv-tree with pv-linear: sweep both")
    if not len(found.in_ram):
        raise BadInputError("no stream of these results stays in RAM: sweep one without holes as well")
    return found


def _n_asked() -> int:
    """Lookups of one entry into a PV kernel."""
    entry = families()["pv"].entry
    assert entry is not None  # the family that ships has one
    return len(entry.asks)


def _frames(hole_fraction: float, identity_fraction: float, pattern: str) -> str:
    """Which frames a stream asks for, in words."""
    parts = shares_outside(hole_fraction, identity_fraction)
    return (" and ".join(parts) + " in runs" * (pattern == "runs")) or "RAM"


def _finding(faster: str, verdict: str) -> str:
    return {TREE: "tree faster", LIST: "list faster"}.get(faster, verdict)


def _counted(key: Sequence[object], part: pd.DataFrame) -> dict[str, object]:
    """Who is faster in how many of these comparisons."""
    said = part["verdict"].value_counts()
    return {
        "lookups": key[0],
        "frames": key[1],
        "comparisons": len(part),
        "list_faster": int((part["faster"] == LIST).sum()),
        "tree_faster": int((part["faster"] == TREE).sum()),
        "no_difference": int(said.get("equivalent", 0)),
        "open": int(said.get("not resolved", 0) + said.get("no verdict", 0)),
        "least_ratio": part["ratio"].min(),
        "greatest_ratio": part["ratio"].max(),
    }


def _rest(cells: pd.DataFrame) -> str:
    """How far the two are apart, and what is left open."""
    counted = _counted(("", ""), cells)
    ends = f"The tree takes {span(cells['ratio'])} times as long as the list"
    counts = {"no difference": counted["no_difference"], "left open by the interval": counted["open"]}
    rest = [f"{what} in {n}" for what, n in counts.items() if n]
    return f"{ends} ({', '.join(rest)})." if rest else f"{ends}."
