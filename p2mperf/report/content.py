"""What a report is made of: tables, figures, chapters and what went wrong, as plain data for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from p2mperf.units import format_ns, readable_size

if TYPE_CHECKING:
    import pandas as pd

_RATIOS = ("ratio", "low", "high")
# What is one name, and is not broken into lines.
_NAMES = ("backing", "design", "family", "guest", "reference", "stream_label")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        What stands in it.
    kind : str
        Its class in the style sheet: ``number``, or what a verdict says.
    title : str
        What is shown to who points at it.
    """

    text: str
    kind: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes
    ----------
    caption : str
        What it shows.
    heads : tuple of str
        Names of its columns, in words.
    rows : tuple of tuple of Cell
        As wide as `heads`; the first cell of a row is its head.
    csv : str
        File beside the page that has all columns and digits; "" for none.
    notes : tuple of str
        What to know of it; a sentence each.
    has_sentences : bool
        Whether its cells hold sentences, so that a narrow screen shows them one below the other.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str = ""
    notes: tuple[str, ...] = ()
    has_sentences: bool = False


@dataclass(frozen=True)
class Drawing:
    """A figure of the page.

    Attributes
    ----------
    name : str
        As `p2mperf plot` calls it.
    title, question : str
        What it says, as is written in it too, and what it is asked.
    origin : str
        What it is drawn from, where that is no samples; a sentence, or "".
    svg, pdf, csv : str
        Files beside the page: the figure, the same for print, and the table behind it.
    family : str
        Whose designs it shows, where there is a figure for each of several families; else "".
    """

    name: str
    title: str
    question: str
    origin: str
    svg: str
    pdf: str
    csv: str
    family: str = ""


@dataclass(frozen=True)
class Trouble:
    """A part that is not in the report.

    Attributes
    ----------
    part : str
        What it would have been.
    reason : str
        Why it is not.
    is_failure : bool
        Whether something went wrong; else these results just have nothing for it.
    """

    part: str
    reason: str
    is_failure: bool


@dataclass(frozen=True)
class Warned:
    """Something to keep in mind about numbers.

    Attributes
    ----------
    seen : str
        What spoils them or is missing; a sentence without its full stop.
    why : str
        Which numbers it changes, and what to do; "" where that is said.
    """

    seen: str
    why: str = ""


@dataclass(frozen=True)
class Caveat:
    """The same of a whole page.

    Attributes
    ----------
    seen : dict of str to list of str
        What was seen, and the titles of the chapters where it was.
    why : str
        As `Warned` has it.
    """

    seen: dict[str, list[str]]
    why: str


@dataclass(frozen=True)
class FamilyPart:
    """What a chapter says of one family.

    Attributes
    ----------
    name : str
        The family's.
    layout : str
        On which pages its system has its tables; "" where that is not known.
    verdicts : tuple of Table
        A matrix for each two designs.
    pairs : tuple of Table
        The same with all that is known, a row a comparison.
    drawings : tuple of Drawing
        Figures that show this family alone.
    """

    name: str
    layout: str
    verdicts: tuple[Table, ...]
    pairs: tuple[Table, ...]
    drawings: tuple[Drawing, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """What one machine measured in one boot with one version of the code.

    Attributes
    ----------
    key : str
        Begins the names of its files and anchors.
    title : str
        Which results these are.
    facts : mapping of str to str
        Where and when they were measured.
    warnings : tuple of Warned
        What spoils them or is missing.
    found : tuple of str
        Who is faster how often; a sentence a family.
    counts, noise : Table, optional
        How often which design is faster; what a design says against itself.
    families : tuple of FamilyPart
        One for each family that was measured.
    drawings : tuple of Drawing
        Figures of what was measured that are of no one family.
    rules : tuple of str
        What the verdicts mean.
    commands : tuple of str
        What measures the same again.
    samples : str
        File beside the page that has every sample.
    """

    key: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Warned, ...] = ()
    found: tuple[str, ...] = ()
    counts: Table | None = None
    noise: Table | None = None
    families: tuple[FamilyPart, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    rules: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    samples: str = ""


@dataclass(frozen=True)
class Found:
    """A finding.

    Attributes
    ----------
    about, said : str
        What it is about, and what was found, in whole sentences.
    where : str
        Title of the chapter that it is of; "" where there is one.
    """

    about: str
    said: str
    where: str = ""


@dataclass(frozen=True)
class Page:
    """The whole page.

    Attributes
    ----------
    whose : str
        Whose numbers these are, in a sentence or two.
    made : str
        When the report was made.
    version : str
        Of p2mperf.
    chapters : tuple of Chapter
        At least one.
    passed_over : tuple of str
        Files that could not be read, a sentence each.
    findings : tuple of Found
        What the results show, in sentences.
    claims : tuple of Table
        What the source documents say, a table a document.
    claim_counts : str
        How many of them have which verdict.
    agreement : Table, optional
        Whether several machines or boots agree.
    computed : mapping of str to tuple of Drawing
        Figures that nothing was measured for, by subject.
    again : tuple of str
        Commands that make the report and its parts again.
    troubles : tuple of Trouble
        What is not in it.
    files : tuple of str
        All files beside the page.
    """

    whose: str
    made: str
    version: str
    chapters: tuple[Chapter, ...]
    passed_over: tuple[str, ...] = ()
    findings: tuple[Found, ...] = ()
    claims: tuple[Table, ...] = ()
    claim_counts: str = ""
    agreement: Table | None = None
    computed: Mapping[str, tuple[Drawing, ...]] = field(default_factory=dict)
    again: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def caveats(self) -> list[Caveat]:
        """What to keep in mind, each once, however many chapters have it."""
        found: dict[str, Caveat] = {}
        for chapter in self.chapters:
            for one in chapter.warnings:
                caveat = found.setdefault(one.why or one.seen, Caveat({}, one.why))
                caveat.seen.setdefault(one.seen, []).append(chapter.title)
        return list(found.values())

    @property
    def rules(self) -> list[str]:
        """What the verdicts mean that occur on the page, each once."""
        return list(dict.fromkeys(rule for chapter in self.chapters for rule in chapter.rules))

    @property
    def failures(self) -> list[Trouble]:
        """Parts that went wrong."""
        return [trouble for trouble in self.troubles if trouble.is_failure]

    @property
    def left_out(self) -> list[Trouble]:
        """Parts for which these results have nothing."""
        return [trouble for trouble in self.troubles if not trouble.is_failure]


def table_of(
    frame: pd.DataFrame, caption: str, heads: Mapping[str, str], csv: str = "", notes: Sequence[str] = ()
) -> Table:
    """Lay a data frame out for the page.

    Parameters
    ----------
    frame : pandas.DataFrame
        What to show.
    caption : str
        What it shows.
    heads : mapping of str to str
        Columns that are shown, in this order, and what they are called there.
    csv : str
        File that has all of it.
    notes : sequence of str
        What to know of it.

    Returns
    -------
    Table
    """
    columns = list(heads)
    rows = frame[columns].itertuples(index=False, name=None)
    cells = (tuple(_cell(name, value) for name, value in zip(columns, row, strict=True)) for row in rows)
    return Table(caption, tuple(heads.values()), tuple(cells), csv, tuple(notes))


def _cell(name: str, value: object) -> Cell:
    """Write a value in the unit that its column's name ends with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell("" if value is None else str(value), "name" if name in _NAMES else "")
    if not isfinite(value):
        return Cell("-", "number")
    if name.endswith("_ns"):
        return Cell(format_ns(value), "number")
    if name.endswith("_bytes"):
        return Cell(readable_size(int(value)), "number")
    if name.endswith("_percent"):
        return Cell(f"{value:.2f} %", "number")
    if name in _RATIOS or name.endswith("_ratio"):
        return Cell(f"{value:.3f}", "number")
    return Cell(f"{value:.4g}" if isinstance(value, float) else str(value), "number")
