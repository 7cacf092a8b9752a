"""The virtual-linear page table as tables: whom it serves, events, defects, and a guest that moves."""

from __future__ import annotations

import pytest

from p2mperf.analysis.arm import vlpt
from p2mperf.errors import BadInputError


def test_who_is_accepted() -> None:
    table = vlpt.vlpt_acceptance()
    wrong = table[(table["posted"] == "accepted") & (table["correct"] != "accepted")]
    # 8 bytes for each 4 KiB from address 0: 128 MiB are full at 64 GiB, which 2 GiB and 63 or 64 exceed.
    assert wrong[["ram_base_bytes", "ram_bytes"]].floordiv(1 << 30).values.tolist() == [[2, 63], [2, 64]]
    assert wrong["overwritten"].str.contains("VMAP").all()


def test_each_defect_shows_as_posted_and_not_when_mended() -> None:
    table = vlpt.vlpt_defects()
    assert not table["holds_as_posted"].any()
    assert table["holds_mended"].all()
    assert (table["as_posted"] != table["mended"]).all()
    assert table["scenario"].str.endswith(".").all()


def test_events_are_those_of_the_code() -> None:
    table = vlpt.vlpt_events("64M")
    assert (table["n_counted"] == table["n_computed"]).all()
    loads = table[table["event"] == "entry_load"].set_index("way")["n_counted"]
    # A level each, or one load through the window.
    assert loads.to_dict() == {"arm-walk": 3, "arm-walk-direct": 3, "arm-vlpt, TLB hit": 1}


def test_a_guest_moves_as_the_recurrence_says() -> None:
    table = vlpt.migrate("64M", 20_000, 125e6)
    n_pages = 64 << 8
    # Sending a page takes 4096 / 125e6 s, in which 0.655 of one is written: it shrinks by that each round.
    rate = 20_000 * 4096 / 125e6
    expected = table[table["source"] == "recurrence"]
    assert expected["n_left"].tolist() == pytest.approx(
        [n_pages * rate**number for number in expected["number"]]
    )
    for design in ("arm-vlpt", "arm-walk"):
        traced = table[table["source"] == design]
        # A write that is under way when a round ends belongs to the next.
        assert traced["n_left"].tolist() == pytest.approx(expected["n_left"].tolist(), abs=1)
        assert (traced["n_faults"] == traced["n_left"]).all()
    last = table[table["stopped_by"] != ""]
    assert last["source"].tolist() == ["recurrence", "arm-vlpt", "arm-walk"]
    assert (last["n_left"] < 50).all()
    assert not table["diverges"].any()
    assert vlpt.migrate("16M", 40_000, 125e6, [])["diverges"].all()  # 1.3 pages written for each sent


def test_designs_and_rules_that_are_none() -> None:
    with pytest.raises(BadInputError, match="unknown stop rule 'never'"):
        vlpt.migrate("16M", 100, 125e6, rule="never")
    with pytest.raises(BadInputError, match="unknown design 'arm-other'"):
        vlpt.migrate("16M", 100, 125e6, ["arm-other"])
    with pytest.raises(BadInputError, match="pv-tree"):
        vlpt.migrate("16M", 100, 125e6, ["pv-tree"])
