"""Whose numbers they are: the machine card in words, and a sentence that says where samples are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from figure_frames import CARD, frame_of, lookups

import p2mperf
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.host.card import caveats, machine_card


def test_a_card_of_samples_is_of_their_machine_and_run(tmp_path: Path) -> None:
    facts = p2mperf.card(frame_of(tmp_path, *lookups())).set_index("what")["value"]
    assert facts["processor"] == CARD["cpu_model"]
    assert facts["virtual machine"] == "kvm"
    assert (facts["plan"], facts["code"]) == ("quick", "c0de")
    # Processes 0 to 3 of which 2 and 3 were not measured, but tried.
    assert facts["processes a point"] == "4"
    assert "to know" not in facts  # half a card says nothing of what is wrong


def test_a_card_of_this_machine_has_its_caveats() -> None:
    here = machine_card()
    found = p2mperf.card(here)
    assert found.loc[found["what"] == "to know", "value"].tolist() == caveats(here)
    assert p2mperf.card()["what"].iloc[0] == "processor"
    with pytest.raises(BadInputError, match="not of 3"):
        p2mperf.card(3)


def test_samples_say_where_they_are_from(tmp_path: Path) -> None:
    frame_of(tmp_path, *lookups())
    found = p2mperf.samples(tmp_path)
    assert p2mperf.origin(found[found["status"] == "done"]) == (
        "Numbers below were measured 2026-11-21 on Example 9000, in a virtual machine, Linux 6.1.0, "
        f"2 processes a point. They were read from '{tmp_path}'."
    )
    assert p2mperf.origin(p2mperf.load(tmp_path)).endswith("4 processes a point.")


def test_what_is_measured_must_be_kept_somewhere(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="say where"):
        p2mperf.samples("measure", keep="")
    with pytest.raises(ResultsError, match="no results in"):
        p2mperf.samples(tmp_path / "nothing")
