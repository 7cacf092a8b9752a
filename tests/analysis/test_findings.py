"""What stories stand on: each made of samples in one call, and what it takes refused where it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from figure_frames import changes, frame_of, lookups

import p2mperf
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.shipped import shipped


def of_shipped(name: str) -> pd.DataFrame:
    try:
        shipped(name)
    except ResultsError as error:
        pytest.skip(str(error))
    return p2mperf.load(name)


def test_superpages() -> None:
    found = p2mperf.hap_superpages(of_shipped("shipped-hap"), "1G")
    assert found.leaves["is_as_predicted"].all()
    assert found.outcomes["n_comparisons"].sum() == (found.windows["stream_label"] == "uniform").sum()
    # Where from, how long, what is saved; and the window, warm and cold.
    assert len(found.answer.splitlines()) == 5


def test_the_life_of_a_p2m(tmp_path: Path) -> None:
    found = p2mperf.life_of_a_p2m(frame_of(tmp_path, *changes()))
    # Two kinds of things were done, and there are pages and mappings.
    assert len(found.answer.splitlines()) == 4
    assert set(found.quirks["quirk"]) == {"", "alloc-forgets-identity", "identity-from-written-pfn"}
    assert found.seen_by_tools.n_otherwise == 0
    assert found.restored.n_moved == found.restored.n_frames > 0


def test_the_window_of_arm() -> None:
    found = p2mperf.arm_vlpt(of_shipped("shipped"), "64M")
    assert len(found.answer.splitlines()) == 5
    moved = found.migrate(20_000, 125e6)
    assert moved.loc[moved["number"] == 1, "n_sent"].tolist() == [64 << 8] * 3


def test_the_limits_of_the_list() -> None:
    found = p2mperf.vmalloc_limits(["64G"], ["32M", "64M", "512M"])
    # 500 GiB is what Xen gives a domain by default; 64 GiB is what a 32-bit kernel takes.
    wide, narrow, area = found.answer.splitlines()
    assert wide.startswith("* **A 64-bit guest** may have up to 500 GiB: max-domain-memory")
    assert narrow.startswith("* **A 32-bit guest** may have up to 64 GiB: max-domain-memory")
    assert "up to 64 MiB; beyond" in area
    assert found.reply("64g-32bit").answers[0].list_bytes == 64 << 20
    assert found.prove("1M").holds
    with pytest.raises(BadInputError, match="unknown question"):
        found.reply("none")


def test_samples_that_have_none_of_it(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, *lookups())
    name: Any = "shipped"
    for find in (p2mperf.hap_superpages, p2mperf.life_of_a_p2m, p2mperf.arm_vlpt):
        with pytest.raises(BadInputError):
            find(frame)
        with pytest.raises(BadInputError, match="samples are a DataFrame"):
            find(name)
