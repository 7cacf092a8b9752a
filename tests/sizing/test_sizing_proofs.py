"""The questions of the threads have their answers, and a kernel that builds the area agrees with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.sizing import (
    QUESTIONS,
    limits,
    reply,
)
from p2mperf.sizing.proof import prove
from p2mperf.sizing.questions import asked_about
from p2mperf.units import MIB, PAGE_SIZE

WIDE: dict[str, Any] = {"entry_bits": 64}
NARROW: dict[str, Any] = {"entry_bits": 32}
ARM: dict[str, Any] = {"design": "arm-vlpt"}

# What the sentence must say; derived beside the limits above.
SAID = {
    "64g-32bit": ["64M, not 128M", "64M of 120M", "max-domain-memory, at 64G"],
    "m2p-16m": ["covers 16G", "for 168G", "for 128G", "64G a 32-bit kernel"],
    # 32 GiB: 288 MiB + (8 x 3 + 7) x 4 KiB = 288.1 of 727 = 40 %; 64 GiB: 576.2 of 727 = 79 %, of 1751 = 33 %
    "low-memory": ["288.1M of 727M of low memory (40%)", "(79%)", "576.2M of 1751M of low memory (33%)"],
    # 44 / 120 = 37 %; 344 + 43 + 0.16 = 387.2 of 727 = 53 %
    "43g-32bit": ["No source says why", "(37%)", "387.2M of 727M of low memory (53%)", "mem_map is 344M"],
    # 800 MiB / 32 TiB = 800 / 33554432 = 0.0024 %
    "vmalloc-1m-64bit": ["ignores vmalloc=", "800M of 32T of virtual area (0.0024%)", "at 500G"],
    "vmalloc-1m-32bit": ["takes 64G", "need 400M", "leaves 1M", "pkmap and fixmap", "has 843M"],
    "2049m": ["524544 entries of 8 bytes, 256 of padding", "768 of padding", "area of 6M", "area of 4M"],
    "5000m": ["1280000 entries", "0 of padding", "area of 10M", "area of 8M"],
    # 1 TiB = 2^28 entries x 8 = 2 GiB, of 32 TiB 0.0061 %
    "past-512g": ["max-domain-memory, tree-top, initial-mapping refuse", "2G of 32T", "direct-map, at 64T"],
    "vlpt-window": ["62G of memory that begins at 2G", "lets 64G through", "at most 16G"],
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_threads_questions_are_answered(name: str) -> None:
    sentence = reply(name).sentence
    for words in SAID[name]:
        assert words in sentence


def test_questions_are_found_by_their_case() -> None:
    answer = limits("400G", **NARROW, vmalloc="1M")
    assert [found.question.name for found in asked_about(answer)] == ["vmalloc-1m-32bit"]
    assert asked_about(limits("3G")) == []
    with pytest.raises(BadInputError, match="did you mean '43g-32bit'"):
        reply("43g-32bits")


@pytest.mark.parametrize(
    ("vmalloc", "n_entries"),
    [
        ("64M", 2**24),  # 64 MiB / 4 bytes: a 64 GiB guest
        ("32M", 2**23),  # 32 MiB / 4 bytes: a 32 GiB guest
    ],
)
def test_the_kernel_agrees(vmalloc: str, n_entries: int) -> None:
    proof = prove(limits(**NARROW, vmalloc=vmalloc))
    assert proof.holds, proof
    assert proof.built
    assert proof.n_entries_read == proof.n_entries == n_entries
    assert proof.guest_bytes == n_entries * PAGE_SIZE
    assert proof.last_entry == proof.last_entry_expected != 0
    assert proof.refused_bytes == proof.area_bytes + 4 * MIB
    assert proof.refusal == "ENOMEM"


def test_the_kernel_agrees_that_it_does_not_fit() -> None:
    # 8 GiB at 32 bits need 8 MiB; vmalloc=4M has one granule.
    proof = prove(limits("8G", **NARROW, vmalloc="4M"))
    assert proof.holds, proof
    assert not proof.built
    assert proof.build_error == proof.refusal == "ENOMEM"


@pytest.mark.parametrize(
    ("guest", "options", "n_entries"),
    [
        # 524544 entries padded to 513 leaves of 1024; the filler behind them is the area's, not the list's
        ("2049M", NARROW, 513 * 1024),
        ("2049M", WIDE, 1025 * 512),
        ("256M", ARM, 2304 * MIB // PAGE_SIZE),  # 2 GiB below RAM have entries too
    ],
)
def test_odd_sizes_are_built(guest: str, options: dict[str, Any], n_entries: int) -> None:
    proof = prove(limits(guest, **options))
    assert proof.holds, proof
    assert proof.n_entries == n_entries


def test_a_proof_beyond_the_machine_is_refused() -> None:
    huge = limits(
        "8192T", without=("max-domain-memory", "tree-top", "initial-mapping", "direct-map", "m2p-64")
    )
    with pytest.raises(DoesNotFitError, match="smaller guest"):
        prove(huge)


def test_a_proof_that_fails_says_so() -> None:
    proof = prove(limits("8G", **NARROW, vmalloc="8M"))
    assert proof.holds
    for wrong in (
        {"refusal": ""},
        {"last_entry": proof.last_entry + 1},
        {"n_entries_read": proof.n_entries - 1},
        {"budget_error": "ENOMEM"},
        {"built": False},
    ):
        assert not replace(proof, **wrong).holds
