"""What the mailing-list threads asked about the size of the list, each answered with computed numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2mperf.errors import known
from p2mperf.sizing.answer import Answer, limits
from p2mperf.sizing.arithmetic import low_memory_parts
from p2mperf.units import readable_size as size_text

Sentence = Callable[[tuple[Answer, ...]], str]
_FIRST = "xen-devel, 27-28 October 2014, [PATCH 0/2]"
_THIRD = "Konrad Wilk on xen-devel, 19 November 2014, [PATCH V3 7/8]"
_COMMIT = "the test list of the commit"


@dataclass(frozen=True)
class Question:
    """One question of the source documents.

    Attributes
    ----------
    name : str
        What to ask for it by.
    asked : str
        Who asked, and where.
    text : str
        The question, in our words.
    cases : tuple of mapping
        Arguments of `limits`, one for each answer it rests on.
    sentence : callable of tuple of Answer -> str
        Puts the computed numbers into words.
    """

    name: str
    asked: str
    text: str
    cases: tuple[Mapping[str, Any], ...]
    sentence: Sentence


@dataclass(frozen=True)
class Reply:
    """A question with its answer.

    Attributes
    ----------
    question : Question
        What was asked.
    sentence : str
        The answer in words, every number computed.
    answers : tuple of Answer
        The numbers behind it.
    """

    question: Question
    sentence: str
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; sizes in bytes."""
        return {
            "name": self.question.name,
            "asked": self.question.asked,
            "question": self.question.text,
            "answer": self.sentence,
            "cases": [answer.to_dict() for answer in self.answers],
        }


def reply(name: str) -> Reply:
    """Answer one of `QUESTIONS` by name.

    Raises
    ------
    BadInputError
        When there is no question of that name.

    Examples
    --------
    >>> reply("64g-32bit").answers[0].list_bytes >> 20
    64
    """
    question = QUESTIONS[known("question", name, QUESTIONS)]
    answers = tuple(limits(**case) for case in question.cases)
    return Reply(question, question.sentence(answers), answers)


def asked_about(answer: Answer) -> list[Reply]:
    """Questions of the threads that are about exactly this case."""
    replies = map(reply, QUESTIONS)
    return [found for found in replies if answer in found.answers]


def _share(answer: Answer, name: str) -> str:
    verdict = answer.on(name)
    ratio = verdict.needed_bytes / verdict.available_bytes
    return (
        f"{size_text(verdict.needed_bytes)} of {size_text(verdict.available_bytes)} of {verdict.unit}"
        f" ({ratio:.{0 if ratio >= 0.01 else 4}%})"
    )


def _largest(answer: Answer, name: str) -> str:
    return size_text(answer.on(name).largest_guest_bytes)


def _first_to_give_out(answer: Answer) -> str:
    return f"first to give out is {' with '.join(answer.binds)}, at {size_text(answer.largest_guest_bytes)}"


def _list_of_64g(answers: tuple[Answer, ...]) -> str:
    narrow, wide = answers
    need, believed = size_text(narrow.list_bytes), size_text(wide.list_bytes)
    return (
        f"{need}, not {believed}: an entry of a 32-bit guest has 4 bytes, and {believed} is what 8-byte"
        f" entries would take. It needs {_share(narrow, 'vmalloc-area')}; {_first_to_give_out(narrow)}."
    )


def _m2p_of_32bit(answers: tuple[Answer, ...]) -> str:
    native, compat = answers
    small, hole, cut = (
        _largest(native, "m2p-native"),
        _largest(compat, "m2p-hole"),
        _largest(compat, "m2p-cut"),
    )
    return (
        f"A 16M m2p covers {small} of machine memory and binds only on a 32-bit hypervisor. Under a 64-bit"
        f" one the hole holds an m2p for {hole}, and with the cut that XenServer saw, for {cut}: more than"
        f" the {_largest(compat, 'max-domain-memory')} a 32-bit kernel takes."
    )


def _low_memory_of_32bit(answers: tuple[Answer, ...]) -> str:
    _, larger, even = answers
    shares = [_share(answer, "low-memory") for answer in answers]
    return (
        f"At a 3:1 split a 32G guest takes {shares[0]} for mem_map, list and page tables, a 64G guest"
        f" {shares[1]}; at 2:2 that is {shares[2]}. By this count alone {_largest(larger, 'low-memory')}"
        f" would fit at 3:1 and {_largest(even, 'low-memory')} at 2:2; what else a kernel keeps there is not"
        " in it."
    )


def _unexplained_43g(answers: tuple[Answer, ...]) -> str:
    (answer,) = answers
    mem_map = size_text(low_memory_parts(answer.parameters, answer.guest_bytes)["mem_map_bytes"])
    near = sorted(answer.verdicts, key=lambda verdict: verdict.largest_guest_bytes)[:3]
    listed = ", ".join(f"{verdict.limit} at {size_text(verdict.largest_guest_bytes)}" for verdict in near)
    area, low = _share(answer, "vmalloc-area"), _share(answer, "low-memory")
    return (
        "No source says why 43 GB was the largest, and none of these limits gives out there. The nearest are"
        f" {listed}. 43G takes {area} and {low}, of which the mem_map is {mem_map}."
    )


def _small_area_64bit(answers: tuple[Answer, ...]) -> str:
    (answer,) = answers
    area = _share(answer, "vmalloc-area")
    first = _first_to_give_out(answer)
    return f"Nothing happens: a 64-bit kernel ignores vmalloc=, and the list takes {area}; {first}."


def _small_area_32bit(answers: tuple[Answer, ...]) -> str:
    (answer,) = answers
    return (
        f"There is no such guest: a 32-bit kernel takes {_largest(answer, 'max-domain-memory')}. Its list"
        f" would need {size_text(answer.area_bytes)} where vmalloc=1M leaves"
        f" {size_text(answer.available_bytes)}; {answer.kernel_behaviour}. The largest guest at vmalloc=1M"
        f" has {size_text(answer.largest_guest_bytes)}: all its memory is low, so its area begins lower."
    )


def _odd_size(answers: tuple[Answer, ...]) -> str:
    return f"{'; '.join(map(_needs, answers))}."


def _needs(answer: Answer) -> str:
    return (
        f"{answer.n_pages} entries of {answer.parameters.shape.entry_bytes} bytes,"
        f" {answer.n_padding_entries} of padding, a list of {answer.list_bytes} bytes in an area of"
        f" {size_text(answer.area_bytes)}, which {'fits' if answer.fits else 'does not fit'}"
    )


def _past_512g(answers: tuple[Answer, ...]) -> str:
    now, later = answers
    return (
        f"Not by itself: {', '.join(now.refused_by)} refuse a 1T guest. With these lifted its list takes"
        f" {_share(later, 'vmalloc-area')}; {_first_to_give_out(later)}."
    )


def _vlpt_reach(answers: tuple[Answer, ...]) -> str:
    (answer,) = answers
    base = size_text(answer.parameters.ram_base_bytes)
    posted, host = _largest(answer, "vlpt-posted-check"), _largest(answer, "arm32-frametable")
    return (
        f"{_largest(answer, 'vlpt-window')} of memory that begins at {base}, because the window is indexed"
        f" from address 0; the check that was posted lets {posted} through. A 32-bit host has at most {host},"
        " so there the window never gives out."
    )


QUESTIONS = {
    question.name: question
    for question in (
        Question(
            "64g-32bit",
            f"David Vrabel and Juergen Gross, {_FIRST}",
            "Does a 64 GB 32-bit guest need 128 MiB of virtual area for its list, or 64?",
            ({"guest_memory": "64G", "entry_bits": 32}, {"guest_memory": "64G", "entry_bits": 64}),
            _list_of_64g,
        ),
        Question(
            "m2p-16m",
            f"Juergen Gross, Ian Campbell and Andrew Cooper, {_FIRST}",
            "Can a 32-bit guest be larger than the 16 GB that a 16 MiB m2p covers?",
            (
                {"guest_memory": "16G", "entry_bits": 32, "hypervisor": "native"},
                {"guest_memory": "64G", "entry_bits": 32, "hypervisor": "compat"},
            ),
            _m2p_of_32bit,
        ),
        Question(
            "low-memory",
            f"Ian Campbell and Andrew Cooper, {_FIRST}",
            "Does a 32-bit kernel run out of low memory between 32 and 64 GB, and does a 2:2 split help?",
            (
                {"guest_memory": "32G", "entry_bits": 32},
                {"guest_memory": "64G", "entry_bits": 32},
                {"guest_memory": "64G", "entry_bits": 32, "split": "2:2"},
            ),
            _low_memory_of_32bit,
        ),
        Question(
            "43g-32bit",
            f"Juergen Gross, {_COMMIT}",
            "Why was 43 GB the largest 32-bit guest that worked, even without the change?",
            ({"guest_memory": "43G", "entry_bits": 32},),
            _unexplained_43g,
        ),
        Question(
            "vmalloc-1m-64bit",
            _THIRD,
            "What happens to a 400 GB guest with vmalloc=1MB, in 64 bit?",
            ({"guest_memory": "400G", "entry_bits": 64, "vmalloc": "1M"},),
            _small_area_64bit,
        ),
        Question(
            "vmalloc-1m-32bit",
            _THIRD,
            "What happens to a 400 GB guest with vmalloc=1MB, in 32 bit?",
            ({"guest_memory": "400G", "entry_bits": 32, "vmalloc": "1M"},),
            _small_area_32bit,
        ),
        Question(
            "2049m",
            f"Konrad Wilk and {_COMMIT}",
            "What does a guest of an odd size, 2049 MB, need?",
            ({"guest_memory": "2049M", "entry_bits": 64}, {"guest_memory": "2049M", "entry_bits": 32}),
            _odd_size,
        ),
        Question(
            "5000m",
            f"Konrad Wilk and {_COMMIT}",
            "What does a guest of an odd size, 5000 MB, need?",
            ({"guest_memory": "5000M", "entry_bits": 64}, {"guest_memory": "5000M", "entry_bits": 32}),
            _odd_size,
        ),
        Question(
            "past-512g",
            f"Juergen Gross, {_FIRST}",
            "Does the linear list take guests past 512 GB?",
            (
                {"guest_memory": "1T", "entry_bits": 64},
                {
                    "guest_memory": "1T",
                    "entry_bits": 64,
                    "without": ("max-domain-memory", "tree-top", "initial-mapping"),
                },
            ),
            _past_512g,
        ),
        Question(
            "vlpt-window",
            "Xen/ARM live migration v5 4/6, xen-devel, 2013",
            "How large a guest can the 128 MiB window of the ARM virtual-linear page table show?",
            ({"guest_memory": "62G", "design": "arm-vlpt"},),
            _vlpt_reach,
        ),
    )
}
