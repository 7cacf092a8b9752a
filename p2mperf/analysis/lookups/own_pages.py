"""What the pages alone cost: tree and list each on 4 KiB and on 2 MiB pages, in one process."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.samples import host_note, of_designs, operation_labels
from p2mperf.analysis.summary import intervals_of, pairs_of, summary, with_verdicts
from p2mperf.analysis.verdicts import notes_on
from p2mperf.analysis.words import as_sentence, n_of, span
from p2mperf.control import CONTROL
from p2mperf.designs.backing import KERNEL
from p2mperf.units import readable_size

PAIRS = {
    "list: 4 KiB / 2 MiB": ("pv-linear-4k", "pv-linear-2m"),
    "tree: 4 KiB / 2 MiB": ("pv-tree-4k", "pv-tree-2m"),
    "tree / list, both on 4 KiB": ("pv-tree-4k", "pv-linear-4k"),
    "tree / list, both on 2 MiB": ("pv-tree-2m", "pv-linear-2m"),
    "tree on 2 MiB / list on 4 KiB": ("pv-tree-2m", "pv-linear-4k"),
}
*_ALIKE, _UNLIKE = list(PAIRS)[2:]
# By whether the tree is ahead on unlike pages, and on like ones.
_SAID = {
    (True, False): "The tree is ahead on unlike pages alone: where it is, it is the pages.",
    (True, True): "The tree is ahead on like pages too: it is not the pages alone.",
    (False, True): "The tree is ahead on like pages and not on unlike ones: the pages do not explain it.",
    (False, False): "In no comparison is the tree shown to be ahead, on like pages or unlike ones.",
}
_NOTHING = (
    "These results have no tables on pages of both sizes; a sweep with "
    "`--design pv-linear-4k --design pv-linear-2m` has."
)


@dataclass(frozen=True)
class OnOwnPages:
    """Comparisons of designs whose pages are part of them. `on_own_pages` makes one.

    Attributes
    ----------
    cells : pandas.DataFrame
        As `p2mperf.summary` gives them, judged among each other, and what: a name of `PAIRS`.
    note : str
        Where they were measured.
    pages : dict of str to int
        Page size that each design was read through [bytes].
    """

    cells: pd.DataFrame
    note: str
    pages: dict[str, int]

    @property
    def answer(self) -> str:
        """What was found, in Markdown."""
        if not len(self.cells):
            return _NOTHING
        ahead = set(self.cells.loc[self.cells["faster"].str.startswith("pv-tree"), "what"])
        lines = [
            f"* {what}: {span(part['ratio'])}; that is resolved in "
            f"{n_of(int((part['verdict'] == 'resolved').sum()), len(part))} comparisons"
            for what, part in self.cells.groupby("what", sort=False)
        ]
        on = ", ".join(f"{name} {readable_size(size)}" for name, size in self.pages.items())
        notes = map(as_sentence, notes_on(self.cells["verdict"], self.cells["marks"]))
        said = _SAID[_UNLIKE in ahead, not ahead.isdisjoint(_ALIKE)]
        measured = as_sentence(f"{self.note}; {intervals_of(self.cells)}")
        return "\n".join([*lines, "", said, "", " ".join([f"Pages they were on: {on}.", measured, *notes])])

    def table(self) -> pd.DataFrame:
        """Lay the comparisons out: a row a guest and kind of lookup, a column a pair; ratios."""
        return self._laid_out(self.cells["ratio"])

    def table_in_words(self) -> pd.DataFrame:
        """The same as text: the ratio with its interval, and in brackets what makes it doubtful."""
        said = [
            f"{pair.ratio:.2f}"
            + f" [{pair.low:.2f}, {pair.high:.2f}]" * bool(pair.level)
            + f" ({pair.marks})" * bool(pair.marks)
            for pair in pairs_of(self.cells)
        ]
        return self._laid_out(pd.Series(said, self.cells.index, "object")).fillna("-")

    def _laid_out(self, values: pd.Series) -> pd.DataFrame:
        cells = self.cells.assign(
            value=values, lookups=operation_labels(self.cells), stream=self.cells["stream_label"]
        )
        rows = ["lookups", "stream", "guest_bytes", "guest"]
        wide = cells.pivot_table("value", rows, "what", aggfunc="first").droplevel("guest_bytes")
        return wide[[what for what in PAIRS if what in wide]].rename_axis(columns=None)


def on_own_pages(frame: pd.DataFrame) -> OnOwnPages:
    """Compare designs on pages of their own.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them; ``shipped-backings`` has some.

    Returns
    -------
    OnOwnPages
        Empty where there are none.
    """
    names = frame["design"].str.removeprefix(CONTROL)
    chosen = frame[names.isin({name for pair in PAIRS.values() for name in pair}).fillna(False)]
    # They are the same whatever backing stands beside them: one is enough.
    backings = sorted(set(chosen["backing"]), key=lambda name: (name != KERNEL, name))
    chosen = chosen[chosen["backing"].isin(backings[:1])]
    names = chosen["design"].str.removeprefix(CONTROL)
    parts = {what: chosen[names.isin(pair)] for what, pair in PAIRS.items()}
    tables = [summary(part).assign(what=what) for what, part in parts.items() if len(part)]
    there = [table for table in tables if len(table)]
    cells = with_verdicts(pd.concat(there, ignore_index=True)) if there else summary(chosen).assign(what="")
    measured = of_designs(chosen)
    pages = {str(name): int(part["view_page_bytes"].max()) for name, part in measured.groupby("design")}
    return OnOwnPages(cells, host_note(chosen), pages)
