"""What a claim is: who made it, in which words, and how it is decided from code and data.

A claim is never typed in with its answer. It has a function that takes the numbers from `Evidence`, writes
them down, and decides from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from p2mperf.units import flag

if TYPE_CHECKING:
    from p2mperf.analysis.claims.evidence import Evidence

Kind = Literal["computed", "measured", "modelled", "none"]
Verdict = Literal["reproduced", "contradicted", "not resolved", "cannot be tested here"]

KINDS: dict[Kind, str] = {
    "computed": "from tables that are built for it and read back, or by arithmetic",
    "measured": "from timed samples: the shipped ones, or yours",
    "modelled": "by a model of what is not here: a board, a host's memory, another build",
    "none": "no number of ours",
}
# A question has no verdict but that of what is feared in it.
WORRY = "Taken for a worry that the list does not fit"
VERDICTS: dict[Verdict, str] = {
    "reproduced": "what we found agrees with it",
    "contradicted": "what we found disagrees with it",
    "not resolved": "what we found leaves it open",
    "cannot be tested here": "it takes what is not here, or what these results have not measured",
}


@dataclass(frozen=True)
class Document:
    """Something that was published.

    Attributes
    ----------
    name : str
        What to ask for it by.
    title : str
        As tables call it.
    source : str
        Who wrote it, and where it stands.
    """

    name: str
    title: str
    source: str


@dataclass(frozen=True)
class Finding:
    """What became of a claim.

    Attributes
    ----------
    ours : str
        What was computed or measured, in words.
    verdict : str
        One of `VERDICTS`.
    why : str
        Why that verdict, in one sentence.
    """

    ours: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Claim:
    """One thing that a document says and that can be checked.

    Attributes
    ----------
    name : str
        What to ask for it by.
    document : Document
        Who says it.
    section : str
        Where in the document.
    published : str
        What it says, word by word.
    kind : str
        Where our numbers are from, one of `KINDS`.
    command : str
        What shows them.
    find : callable of Evidence -> Finding
        Computes them and decides.
    """

    name: str
    document: Document
    section: str
    published: str
    kind: Kind
    command: str
    find: Callable[[Evidence], Finding]


def shows(claim: str) -> str:
    """Command that computes one claim, where no other shows more of it."""
    return f"python -m p2mperf claims --claim {claim}"


def decided(holds: bool, ours: str, because: str, otherwise: str) -> Finding:
    """Decide a claim that is either so or not.

    Parameters
    ----------
    holds : bool
        Whether it is so.
    ours : str
        What was found.
    because, otherwise : str
        Why it is so, and why it is not.

    Returns
    -------
    Finding

    Raises
    ------
    BadInputError
        When `holds` is neither True nor False.
    """
    return (
        Finding(ours, "reproduced", because)
        if flag(holds, "holds")
        else Finding(ours, "contradicted", otherwise)
    )


def untested(ours: str, why: str) -> Callable[[Evidence], Finding]:
    """Say of a claim that nothing here can decide it.

    Parameters
    ----------
    ours : str
        What there is instead.
    why : str
        Why it cannot be tested.

    Returns
    -------
    callable of Evidence -> Finding
    """
    return lambda evidence: Finding(ours, "cannot be tested here", why)
