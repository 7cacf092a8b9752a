"""Every claim of the source documents that can be checked, and what became of it.

A document's claims stand in a file of their own. Here they stand in a row, document by document, and are
decided: nothing of an answer is written down beforehand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.analysis.claims.base import VERDICTS, Claim, Document, Finding
from p2mperf.analysis.claims.commit import CLAIMS as OF_COMMIT
from p2mperf.analysis.claims.evidence import Evidence, NotMeasuredError
from p2mperf.analysis.claims.hap import CLAIMS as OF_HAP
from p2mperf.analysis.claims.review import CLAIMS as OF_REVIEW
from p2mperf.analysis.claims.thread import CLAIMS as OF_THREAD
from p2mperf.analysis.claims.vlpt import CLAIMS as OF_VLPT
from p2mperf.errors import BadInputError, DoesNotFitError, known, shown
from p2mperf.progress import Progress
from p2mperf.shipped import SWEEPS, shipped

if TYPE_CHECKING:
    import pandas as pd

CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (*OF_COMMIT, *OF_THREAD, *OF_REVIEW, *OF_HAP, *OF_VLPT)
}
DOCUMENTS: dict[str, Document] = {claim.document.name: claim.document for claim in CLAIMS.values()}
COLUMNS = ("claim", "document", "section", "published", "ours", "kind", "verdict", "why", "command")


def claims(results: pd.DataFrame | str | Path | Sequence[str | Path] | None = None) -> pd.DataFrame:
    """Decide every claim of the source documents from tables, models and measured samples.

    Parameters
    ----------
    results : pandas.DataFrame, str, Path, or sequence of str or Path; optional
        Samples that measured claims are decided from, or where `load` finds them; default: the sweeps that
        come with p2mperf. What they have not measured cannot be tested. Claims of the kernel build stand on
        the recording and the replays that come with p2mperf, whatever the results.

    Returns
    -------
    pandas.DataFrame
        One row a claim, in the order of the documents; columns claim, document, section, published (the
        words), ours, kind ("computed", "measured", "modelled" or "none"), verdict ("reproduced",
        "contradicted", "not resolved" or "cannot be tested here"), why, and the command that shows it.

    Raises
    ------
    BadInputError
        For what are no samples.
    ResultsError
        When results cannot be read.
    """
    return decide(CLAIMS.values(), evidence_of(results))


def evidence_of(results: object = None) -> Evidence:
    """Take results as `claims` does."""
    from p2mperf.results.export import load
    from p2mperf.results.samples import as_samples

    if results is None:
        return Evidence()
    if isinstance(results, str | Path):
        results = [results]
    if isinstance(results, list | tuple):
        return Evidence(load([_located(each) for each in results]))
    return Evidence(as_samples(results))


def _located(source: object) -> str | Path:
    if not isinstance(source, str | Path):
        raise BadInputError(f"results are named by text or by a path, not by {shown(source)}")
    return shipped(source) if isinstance(source, str) and source in SWEEPS else source


def chosen(documents: Collection[str] = (), names: Collection[str] = ()) -> list[Claim]:
    """Choose claims by document and by name; without any, all.

    Parameters
    ----------
    documents : collection of str
        Names in `DOCUMENTS`.
    names : collection of str
        Names in `CLAIMS`.

    Returns
    -------
    list of Claim
        In the order of the documents.

    Raises
    ------
    BadInputError
        For a name that is none.
    """
    for name in documents:
        known("document", name, DOCUMENTS)
    for name in names:
        known("claim", name, CLAIMS)
    return [
        claim
        for claim in CLAIMS.values()
        if (not documents or claim.document.name in documents) and (not names or claim.name in names)
    ]


def decide(
    claims: Collection[Claim], evidence: Evidence | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Decide claims, one after the other.

    Parameters
    ----------
    claims : collection of Claim
        Which.
    evidence : Evidence, optional
        Where their numbers come from; default: what comes with p2mperf.
    progress : Progress, optional
        Who is told how far that is.

    Returns
    -------
    pandas.DataFrame
        As `claims`.
    """
    import pandas as pd

    evidence, progress = evidence or Evidence(), progress or Progress()
    rows = []
    for number, claim in enumerate(claims):
        progress.advance(number, len(claims), claim.name)
        found = _found(claim, evidence)
        told = (
            claim.section,
            claim.published,
            found.ours,
            claim.kind,
            found.verdict,
            found.why,
            claim.command,
        )
        rows.append((claim.name, claim.document.title, *told))
    progress.advance(len(claims), len(claims), "")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _found(claim: Claim, evidence: Evidence) -> Finding:
    try:
        return claim.find(evidence)
    except NotMeasuredError as error:
        return Finding("-", "cannot be tested here", f"These results have {error}.")
    except DoesNotFitError as error:
        return Finding("-", "cannot be tested here", f"This machine has no room for it: {error}.")


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Count the verdicts of a table, in the order in which they are explained; those that are there."""
    there = table["verdict"].value_counts()
    return {verdict: int(there[verdict]) for verdict in VERDICTS if verdict in there}


def counted(table: pd.DataFrame) -> str:
    """The same in words.

    Examples
    --------
    >>> import pandas as pd
    >>> counted(pd.DataFrame({"verdict": ["contradicted", "reproduced", "reproduced"]}))
    '3 claims: 2 reproduced, 1 contradicted'
    """
    said = ", ".join(f"{n} {verdict}" for verdict, n in counts(table).items())
    return f"{len(table)} claim{'s' * (len(table) != 1)}: {said or 'none'}"
