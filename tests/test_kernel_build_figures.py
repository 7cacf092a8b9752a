"""Figures of a kernel build: their tables number by number, and what they are drawn from."""

from __future__ import annotations

from dataclasses import replace

import kernel_builds as made
import pytest

import p2mperf
from p2mperf.errors import BadInputError
from p2mperf.figures import figure, find, table

# ---- what they are drawn from ----


@pytest.mark.parametrize("wrong", [1, "x", {"replays": []}])
def test_what_is_no_replay_is_one_sentence(wrong: object) -> None:
    with pytest.raises(BadInputError, match="replays are wanted, not "):
        table("build-cold", wrong)


def test_formulas_in_names_are_drawn_as_they_stand() -> None:
    replays = made.replays()
    odd = tuple(replace(one, guest=r"$\frac{1") for one in replays.replays[:1])
    drawn = figure("build-cold", replace(replays, replays=odd, machine={"cpu_model": "$x_"}))
    drawn.canvas.draw()
    assert r"\$\frac{1" in str(table("build-cold", replace(replays, replays=odd))["what"].iloc[0])


# ---- build-cold ----


def test_deltas_stand_beside_their_control_under_each_condition() -> None:
    rows = table("build-cold", made.replays()).set_index(["class", "where", "guest"])
    # Six processes, 0 to 5 % more than the first: their middle is 2.5 % more; the larger guest has twice it.
    for condition, more in made.MORE_NS.items():
        for guest, factor in (("8G", 1), ("128G", 2)):
            row = rows.loc[("ANONYMOUS_WRITE", condition, guest)]
            assert row["middle_ns"] == pytest.approx(1.025 * more * factor)
            assert row["low_ns"] == pytest.approx(more * factor)
            assert row["control_middle_ns"] == pytest.approx(made.CONTROL_NS)
    # A switch has no panel of its own, but is among all entries: (1 + 2 + 4 + 1) / 4 writes an entry.
    assert "SWITCH" not in rows.index.get_level_values("class")
    assert rows.loc[("ALL", "tight", "8G"), "middle_ns"] == pytest.approx(1.025 * 5 * 8 / 4)


def test_colder_is_farther_right_and_controls_are_hollow() -> None:
    replays = made.replays()
    turned = replace(replays, replays=replays.replays[::-1])
    fig = figure("build-cold", turned)
    assert [ax.get_title(loc="left") for ax in fig.axes] == [
        "all entries",
        "anonymous write",
        "read of a file, its neighbours mapped",
        "exit",
    ]
    (ax,) = fig.axes[1:2]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["tight", "flushed", "cold"]
    faces = {bars.get_label(): bars.lines[0].get_markerfacecolor() for bars in ax.containers}
    assert faces["a design against itself"] == "white"
    assert {label for label, face in faces.items() if face != "white"} == {
        "pv-tree - pv-linear, 8G",
        "pv-tree - pv-linear, 128G",
    }
    # Each point has its number beside it: 1.025 times 5, 45, 100, and twice these.
    said = {text.get_text() for text in ax.texts}
    assert said == {"5.1", "46", "102", "10", "92", "205"}


def test_swapped_designs_turn_every_difference() -> None:
    straight = table("build-cold", made.replays())
    swapped = [replace(one, designs=made.DESIGNS[::-1]) for one in made.replays().replays]
    turned = table("build-cold", made.replays(replays=tuple(swapped)))
    assert turned["middle_ns"].tolist() == pytest.approx((-straight["middle_ns"]).tolist())


def test_processes_that_were_alone_have_a_place_of_their_own() -> None:
    replays = made.replays()
    cold = [one for one in replays.replays if one.condition == "cold"]
    both = replace(replays, replays=(*replays.replays, *(replace(one, alone=True) for one in cold)))
    (ax, *_) = figure("build-cold", both).axes
    assert [label.get_text() for label in ax.get_xticklabels()][2:] == ["cold", "cold\na process each"]


def test_nothing_replayed_is_one_sentence() -> None:
    with pytest.raises(BadInputError, match="nothing was replayed"):
        figure("build-cold", made.replays(replays=()))


@pytest.mark.parametrize("name", ["build-cold"])
def test_the_api_hands_over_what_it_is_given(name: str) -> None:
    assert find(name).source is not None
    assert p2mperf.figure(name, made.replays()).get_suptitle() == find(name).question
