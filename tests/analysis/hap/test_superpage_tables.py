"""Superpages as tables: counts against arithmetic, and what is no share, run or table."""

from __future__ import annotations

import pandas as pd
import pytest

from p2mperf.analysis.hap import superpages
from p2mperf.errors import BadInputError

GIB_FRAMES = 1 << 18


def test_leaves_map_the_same_frames_whatever_their_sizes() -> None:
    table = superpages.superpage_leaves("1G")
    sizes = {"n_4kib": 1, "n_2mib": 512, "n_1gib": 512 * 512}
    mapped = table[list(sizes)] @ pd.Series(sizes)
    assert mapped.tolist() == table["n_frames"].tolist()
    assert len(set(table["n_frames"])) == 1
    assert table["is_as_predicted"].all()
    # Without superpages each of the 512 stretches of 2 MiB has a page of entries, that of the special pages
    # below 4 GiB too; above them stand 2 L2 (GiB 0 and 3), 1 L3 and 1 L4.
    assert table["n_table_pages"].iloc[0] == 512 + 1 + 2 + 1 + 1
    # With leaves of 2 MiB only the first stretch, of the VGA hole, and that of the special pages need one.
    assert table["n_table_pages"].iloc[1] == 2 + 2 + 1 + 1
    assert (table["table_bytes"] == 4096 * table["n_table_pages"]).all()


def test_a_broken_host_gives_small_leaves() -> None:
    table = superpages.superpage_supply("1G", [0.0, 0.6, 1.0])
    shares = table[["in_4kib_percent", "in_2mib_percent", "in_1gib_percent"]]
    assert shares.sum(axis=1).tolist() == pytest.approx([100, 100, 100])
    assert shares["in_4kib_percent"].is_monotonic_increasing
    assert shares["in_4kib_percent"].iloc[2] == 100
    # Of a quarter more memory than the guest's, 40 % is whole: half of the guest gets superpages.
    assert shares["in_2mib_percent"].iloc[1] == pytest.approx(50, abs=3)
    assert table["n_failed_2mib"].iloc[0] == 0
    assert (table["n_failed_2mib"].iloc[1:] > 0).all()
    assert table["n_table_pages"].iloc[2] == superpages.superpage_leaves("1G")["n_table_pages"].iloc[0]


def test_superpages_survive_as_the_closed_form_says() -> None:
    table = superpages.superpage_survival("1G", [0.001, 0.01, 1.0], [1, 512])
    single, leaves = (table[table["run_frames"] == n_frames] for n_frames in (1, 512))
    # A leaf is whole if none of its 512 frames is among those given back: 0.999**512, 0.99**512.
    assert single["expected_percent"].tolist()[:2] == pytest.approx([59.9, 0.58], rel=0.02)
    # Of some 512 leaves, so that a count is within 4 deviations, each at most sqrt(1 / 4 / 512).
    assert single["surviving_percent"].tolist() == pytest.approx(single["expected_percent"].tolist(), abs=9)
    assert single["surviving_percent"].iloc[-1] == leaves["surviving_percent"].iloc[-1] == 0
    # A run of 512 frames is a whole leaf: as many are lost as are given back.
    assert leaves["surviving_percent"].iloc[1] == pytest.approx(99, abs=0.5)
    assert single["released_percent"].tolist() == pytest.approx([0.1, 1, 100], rel=0.01)


@pytest.mark.parametrize(
    ("shares", "runs", "says"),
    [
        ([0.0], [1], "lies between 0 and 1"),
        ([1.5], [1], "lies between 0 and 1"),
        (["half"], [1], "must be a number"),
        ([0.5], [3], "a power of two up to 512"),
        ([0.5], [1024], "up to 512"),
    ],
)
def test_shares_and_runs_that_are_none(shares: list[float], runs: list[int], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        superpages.superpage_survival("64M", shares, runs)


def test_one_frame_less() -> None:
    table = superpages.superpage_splits("1G")
    assert table["leaf"].tolist() == ["1 GiB", "2 MiB", "4 KiB"]
    assert table["n_splits"].tolist() == table["n_new_pages"].tolist() == [2, 1, 0]
    assert table["n_changed"].tolist() == [1, 1, 1]
    # For each split the 512 entries of a new page and the one that points to it; and the frame's own.
    assert table["n_writes"].tolist() == [2 * 513 + 1, 513 + 1, 1]
    mapped = table["n_4kib"] + 512 * table["n_2mib"] + GIB_FRAMES * table["n_1gib"]
    assert mapped.tolist() == [GIB_FRAMES - 1] * 3
    with pytest.raises(BadInputError, match="cannot be removed"):
        superpages.superpage_splits("16M", 4096)
