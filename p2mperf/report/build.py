"""Build a report, part by part: one that goes wrong is told, and does not keep the others from being made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pandas as pd

from p2mperf import __version__
from p2mperf.analysis.agreement import agreement
from p2mperf.analysis.claims.decided import claims, counted
from p2mperf.analysis.findings import SWEEPS_WITH_FINDINGS, findings, findings_on
from p2mperf.analysis.labels import who_is_faster
from p2mperf.analysis.matrix import counts, matrices
from p2mperf.analysis.noise import controls, noise_floor
from p2mperf.analysis.samples import runs_of
from p2mperf.analysis.summary import between, summary
from p2mperf.analysis.verdicts import notes_on, rules_of
from p2mperf.errors import BadInputError, PluginError, ResultsError, cut
from p2mperf.figures import FigureSpec, figures, find
from p2mperf.progress import Progress
from p2mperf.report import tables
from p2mperf.report.again import commands, sweep_command
from p2mperf.report.content import Chapter, Drawing, FamilyPart, Found, Page, Table, Trouble, Warned
from p2mperf.report.drawing import draw, subject
from p2mperf.report.files import Files
from p2mperf.report.folder import new_report
from p2mperf.report.machine import facts, layout_of, warnings_on
from p2mperf.report.render import render
from p2mperf.report.sources import Numbers, Part
from p2mperf.results.parquet import write_parquet
from p2mperf.shipped import SWEEPS
from p2mperf.study.kernel_builds import kernel_build

PAGE = "index.html"
N_OF_CHAPTER = 4  # machine, verdicts, noise floor and samples; and each figure
_LONGEST_REASON = 300
T = TypeVar("T")


def write_report(
    numbers: Numbers, out: str | Path, progress: Progress | None = None
) -> tuple[Path, list[Trouble]]:
    """Write a report.

    Parameters
    ----------
    numbers : Numbers
        What it shows.
    out : str or Path
        The folder; an earlier report there is replaced.
    progress : Progress, optional
        Whom to tell how it goes.

    Returns
    -------
    (Path, list of Trouble)
        The page, and the parts that went wrong.

    Raises
    ------
    BadInputError, ResultsError
        As `p2mperf.report.folder.new_report`.
    """
    with new_report(out) as folder:
        page = _Builder(numbers, Files(folder), progress or Progress()).page()
        (folder / PAGE).write_text(render(page), encoding="utf-8")
    return Path(out, PAGE), page.failures


@dataclass(frozen=True)
class _About:
    """Where a chapter's numbers are from: as `Chapter` has it."""

    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Warned, ...] = ()
    commands: tuple[str, ...] = ()


def _about(frame: pd.DataFrame) -> _About:
    again = dict.fromkeys(sweep_command(run) for run in runs_of(frame))
    return _About(facts(frame), tuple(warnings_on(frame)), tuple(again))


@dataclass(frozen=True)
class _Verdicts:
    """What is said of the designs of a chapter: as `Chapter` has it."""

    found: tuple[str, ...] = ()
    counts: Table | None = None
    families: tuple[FamilyPart, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass
class _Builder:
    """The parts of one report, made one after the other."""

    numbers: Numbers
    files: Files
    progress: Progress
    troubles: list[Trouble] = field(default_factory=list)
    n_parts: int = 0
    n_made: int = 0

    def page(self) -> Page:
        """Make all parts."""
        measured, computed = self._specs()
        parts = self.numbers.parts
        self.n_parts = 2 + (len(parts) > 1) + len(computed)
        self.n_parts += sum(N_OF_CHAPTER + len(_shown_with(part, measured)) for part in parts)
        keys = [""] if len(parts) == 1 else [str(number) for number, _ in enumerate(parts, start=1)]
        chapters = [
            self._chapter(part, key, _shown_with(part, measured))
            for part, key in zip(parts, keys, strict=True)
        ]
        told = self.made("findings", self._findings) or ()
        found = self.made("claims", self._claims) or ((), "")
        together = self.made("agreement", self._agreement) if len(parts) > 1 else None
        drawings: dict[str, tuple[Drawing, ...]] = defaultdict(tuple)
        for name in computed:
            drawings[subject(name)] += tuple(self.made(f"figure {name}", self._figure(name, None)) or ())
        self.progress.advance(self.n_parts, self.n_parts, "written")
        return Page(
            whose=self.numbers.whose,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=__version__,
            chapters=tuple(chapters),
            passed_over=self.numbers.passed_over,
            findings=told,
            claims=found[0],
            claim_counts=found[1],
            agreement=together,
            computed={name: shown for name, shown in drawings.items() if shown},
            again=tuple(commands(self.numbers.names)),
            troubles=tuple(self.troubles),
            files=tuple(self.files.written()),
        )

    def made(self, part: str, make: Callable[[], T]) -> T | None:
        """Make a part, or say why it is not there.

        Parameters
        ----------
        part : str
            What it is.
        make : callable
            Makes it.

        Returns
        -------
        object or None
            None for one that is not there.
        """
        self.progress.advance(self.n_made, self.n_parts, part)
        self.n_made += 1
        try:
            return make()
        except PluginError as error:
            reason, is_failure = str(error), True
        except (BadInputError, ResultsError) as error:
            reason, is_failure = str(error), False
        except OSError:  # of the folder, which is none of a part's
            raise
        except Exception as error:  # whatever a part meets, the others are shown
            reason, is_failure = f"{type(error).__name__}: {error}", True
        self.troubles.append(Trouble(part, cut(reason, _LONGEST_REASON), is_failure))
        if not is_failure:
            self.progress.say(f"{part} is left out: {cut(reason, _LONGEST_REASON)}")
        return None

    def _specs(self) -> tuple[list[FigureSpec], list[str]]:
        """Figures of what was measured, and names of the others."""
        measured, computed = [], []
        for name in figures():
            try:
                spec = find(name)
            except BadInputError as error:
                self.troubles.append(Trouble(f"figure {name}", str(error), True))
                continue
            if spec.measured:
                measured.append(spec)
            else:
                computed.append(name)
        return measured, computed

    def _figure(self, name: str, frame: object, key: str = "") -> Callable[[], list[Drawing]]:
        return lambda: draw(name, frame, self.files, key)

    def _chapter(self, part: Part, key: str, specs: Sequence[FigureSpec]) -> Chapter:
        frame, where = part.frame, f" of {part.title}" if key else ""
        about = self.made(f"machine{where}", lambda: _about(frame)) or _About()
        said = self.made(f"verdicts{where}", lambda: self._verdicts(frame, key)) or _Verdicts()
        drawings: list[Drawing] = []
        for spec in specs:
            drawings += self.made(f"figure {spec.name}{where}", self._figure(spec.name, frame, key)) or ()
        names = {part.name for part in said.families}
        return Chapter(
            key=key,
            title=part.title,
            facts=about.facts,
            warnings=about.warnings,
            found=said.found,
            counts=said.counts,
            noise=self.made(f"noise floor{where}", lambda: self._noise(frame, key)),
            families=tuple(
                replace(part, drawings=tuple(one for one in drawings if one.family == part.name))
                for part in said.families
            ),
            drawings=tuple(one for one in drawings if one.family not in names),
            rules=said.rules,
            commands=about.commands,
            samples=self.made(f"samples{where}", lambda: self._samples(frame, key)) or "",
        )

    def _verdicts(self, frame: pd.DataFrame, key: str) -> _Verdicts:
        pairs = summary(frame)
        if not len(pairs):
            raise BadInputError("no cell was measured with two designs of a family")
        self.files.csv("comparisons", pairs, key)
        table = counts(pairs)
        families = [str(family) for family in pairs["family"].unique()]
        return _Verdicts(
            tuple(
                f"Family {family}: {who_is_faster(pairs[pairs['family'] == family])}." for family in families
            ),
            tables.counts_table(table, self.files.csv("counts", table, key)),
            tuple(self._families(pairs, key)),
            (*rules_of(pairs["verdict"]), *notes_on(pairs["verdict"], pairs["marks"])),
        )

    def _families(self, pairs: pd.DataFrame, key: str) -> Iterator[FamilyPart]:
        """Verdicts of each family: those of the whole chapter, so that all of its tables agree."""
        for family, of_family in pairs.groupby("family", sort=False):
            shown, listed = [], []
            for matrix in matrices(of_family):
                name = f"{matrix.design}-over-{matrix.reference}"
                shown.append(
                    tables.matrix_table(matrix, self.files.csv(f"verdicts-{name}", matrix.as_frame(), key))
                )
                both = between(of_family, matrix.design, matrix.reference)
                listed.append(tables.pairs_table(both, self.files.csv(f"comparisons-{name}", both, key)))
            yield FamilyPart(str(family), layout_of(str(family)), tuple(shown), tuple(listed))

    def _noise(self, frame: pd.DataFrame, key: str) -> Table | None:
        found = controls(frame)
        if not len(found):
            raise BadInputError("no design was timed against itself; `sweep --control` does it")
        self.files.csv("controls", found, key)
        floor = noise_floor(found)
        return tables.noise_table(floor, self.files.csv("noise-floor", floor, key))

    def _samples(self, frame: pd.DataFrame, key: str) -> str:
        path = self.files.folder / f"samples{key and f'-{key}'}.parquet"
        write_parquet(frame, path)
        return self.files.relative(path)

    def _agreement(self) -> Table:
        is_shipped = not self.numbers.names
        table = agreement(self.numbers.frame, force=is_shipped)
        return tables.agreement_table(table, self.files.csv("agreement", table))

    def _findings(self) -> tuple[Found, ...]:
        parts = self.numbers.parts
        if not self.numbers.names:
            sweeps = {part.source: part.frame for part in parts if part.source in SWEEPS_WITH_FINDINGS}
            return tuple(Found(one.about, one.said) for one in findings(sweeps, kernel_build(quiet=True)))
        return tuple(
            Found(one.about, one.said, part.title if len(parts) > 1 else "")
            for part in parts
            for one in findings_on(part.frame)
        )

    def _claims(self) -> tuple[tuple[Table, ...], str]:
        found = claims(self.numbers.parts[0].frame if self.numbers.names else None)
        return tuple(tables.claim_tables(found, self.files.csv("claims", found))), counted(found)


def _shown_with(part: Part, measured: Sequence[FigureSpec]) -> list[FigureSpec]:
    """Figures of a chapter: of what ships, each is shown with the sweep that has what it shows."""
    named = {spec.shipped for spec in measured}
    wanted = part.source if part.source in named else next(iter(SWEEPS))
    return [spec for spec in measured if not part.source or spec.shipped == wanted]
