"""Which guests the posted checks accept, which they should, and what is overwritten."""

from __future__ import annotations

import pytest

from p2mperf.designs.arm.checks import acceptance, correct_verdict, posted_verdict, require, verdict
from p2mperf.errors import BadInputError, DoesNotFitError

GIB, MIB, PAGE = 1 << 30, 1 << 20, 4096

# By hand, from the patch: required = RAM / 512; slots from 64 + start / GiB to 64 + end / GiB inclusive, as
# its end index is end / GiB + 1 and exclusive; 512 invalidations a slot. Columns: base and size [GiB],
# required [MiB], slots, first, last, posted verdict, correct verdict.
TABLE = [
    (0, 0.25, 0.5, 1, 64, 64, True, True),
    (0, 1, 2, 2, 64, 65, True, True),
    (0, 63, 126, 64, 64, 127, True, True),
    (0, 64, 128, 65, 64, 128, True, True),
    (0, 65, 130, 0, -1, -1, False, False),
    (2, 0.25, 0.5, 1, 66, 66, True, True),
    (2, 0.5, 1, 1, 66, 66, True, True),
    (2, 0.75, 1.5, 1, 66, 66, True, True),
    (2, 1, 2, 2, 66, 67, True, True),
    (2, 2, 4, 3, 66, 68, True, True),
    (2, 4, 8, 5, 66, 70, True, True),
    (2, 32, 64, 33, 66, 98, True, True),
    (2, 62, 124, 63, 66, 128, True, True),
    (2, 63, 126, 64, 66, 129, True, False),
    (2, 64, 128, 65, 66, 130, True, False),
    (2, 400, 800, 0, -1, -1, False, False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[1]}G at {row[0]}G")
def test_the_table_of_acceptance(row: tuple[int, float, float, int, int, int, bool, bool]) -> None:
    base, size, required, n_slots, first, last, posted, correct = row
    found = acceptance((base * GIB,), (size,))[0]
    assert found["required_bytes"] == required * MIB
    assert (found["n_slots"], found["first_slot"], found["last_slot"]) == (n_slots, first, last)
    assert found["n_invalidations"] == 512 * n_slots
    assert found["posted"] == ("accepted" if posted else "-ENOMEM (check 1)")
    assert found["correct"] == ("accepted" if correct else "-ENOMEM (end of the window)")
    # Slots up to 127 are the window's.
    assert ("VMAP" in str(found["overwritten"])) == (last > 127)


def test_the_last_page_that_fits() -> None:
    # From 2 GiB on, the window ends at 64 GiB: 62 GiB of RAM, and not a page more.
    assert correct_verdict(2 * GIB, 64 * GIB).accepted
    assert not correct_verdict(2 * GIB, 64 * GIB + PAGE).accepted
    # The posted check measures the RAM instead: 64 GiB of it, and not 512 bytes of entries more. A page
    # more is 8 bytes, which the division by 512 keeps: 128 MiB + 8.
    assert posted_verdict(2 * GIB, 66 * GIB).accepted
    assert posted_verdict(2 * GIB, 66 * GIB + PAGE).required_bytes == 128 * MIB + 8
    assert not posted_verdict(2 * GIB, 66 * GIB + PAGE).accepted


def test_one_root_entry_too_many_only_where_ram_ends_on_a_gib() -> None:
    assert posted_verdict(2 * GIB, 3 * GIB - PAGE).overruns == ()
    assert posted_verdict(2 * GIB, 3 * GIB).overruns == ("xen_second[67]: one root entry too many",)
    assert posted_verdict(2 * GIB, 3 * GIB + PAGE).overruns == ()
    # 62 GiB less a page ends in slot 127; at 62 GiB the extra entry is VMAP's first.
    assert posted_verdict(2 * GIB, 64 * GIB - PAGE).end_slot == 128
    assert "VMAP" in " ".join(posted_verdict(2 * GIB, 64 * GIB).overruns)


def test_the_second_check_fires_only_far_away() -> None:
    # 64 + end / GiB + 1 >= 1024: RAM that ends at 959 GiB; small enough for check 1 if it begins there.
    assert posted_verdict(958 * GIB, 959 * GIB).refused_by == "check 2"
    assert posted_verdict(957 * GIB, 959 * GIB - PAGE).refused_by == ""
    assert posted_verdict(957 * GIB, 959 * GIB - PAGE).end_slot == 64 + 959


def test_correct_slots_are_those_that_ram_touches() -> None:
    found = correct_verdict(2 * GIB, 3 * GIB)
    assert (found.first_slot, found.end_slot, found.n_invalidations) == (66, 67, 512)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (2 * GIB + 1, 3 * GIB, "start of guest memory, 0x80000001, is not page-aligned"),
        (2 * GIB, 3 * GIB + 8, "end of guest memory, 0xc0000008, is not page-aligned"),
        (3 * GIB, 2 * GIB, "empty or reversed"),
        (2 * GIB, 1025 * GIB, "above the 40 bits"),
    ],
)
def test_ranges_that_are_none_are_refused(start: int, end: int, message: str) -> None:
    for judge in (posted_verdict, correct_verdict):
        with pytest.raises(BadInputError, match=message):
            judge(start, end)


def test_refusals_are_errors_with_numbers() -> None:
    with pytest.raises(DoesNotFitError, match=r"-ENOMEM.*134217728.*big requires 136314880.*check 1"):
        require("as-posted", 2 * GIB, 67 * GIB, "big")
    assert require("as-posted", 2 * GIB, 66 * GIB, "big").accepted
    with pytest.raises(BadInputError, match="unknown checks 'as-postde': did you mean 'as-posted'"):
        verdict("as-postde", 0, GIB)
