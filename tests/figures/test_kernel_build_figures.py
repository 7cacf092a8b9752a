"""Figures of a kernel build: their tables number by number, and what they are drawn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import kernel_builds as made
import pytest
from predicted_builds import counts

import p2mperf
from p2mperf.analysis.kernel_build.prediction import predict
from p2mperf.analysis.kernel_build.replay_file import write_replays
from p2mperf.cli import main
from p2mperf.errors import BadInputError
from p2mperf.figures import figure, find, table
from p2mperf.figures.kernel_build import locality
from p2mperf.figures.kernel_build.given import class_title
from p2mperf.workload.locality import count_locality
from p2mperf.workload.recording import CpuCount
from p2mperf.workload.recording_file import write_recording
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import Entered

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


# ---- recordings ----


@pytest.mark.parametrize("name", ["build-translations", "build-locality"])
@pytest.mark.parametrize("wrong", [1, [made.replays()], "x"])
def test_what_is_no_recording_is_one_sentence(name: str, wrong: object) -> None:
    with pytest.raises(BadInputError, match="a recording is wanted, not "):
        table(name, wrong)
    with pytest.raises(BadInputError, match="no recording is given"):
        table(name, [])


def test_translations_are_those_that_are_counted() -> None:
    recording = made.two_processes()
    rows = table("build-translations", recording).set_index(["class", "table", "thp"])
    for thp in (True, False):
        counted = count_translations(recording, thp)
        for kind, asked in counted.by_class.items():
            assert rows.loc[(kind, "p2m", thp), "n_lookups"] == asked.p2m
            assert rows.loc[(kind, "m2p", thp), "n_lookups"] == asked.m2p
    # Four faults; the second of each process finds its page tables: 7 p2m and 5 m2p without huge pages
    # configured, 2 more of each with; the first has none of them to read, and makes three.
    written = rows.loc["ANONYMOUS_WRITE"]
    assert written.loc[("p2m", True), "n_entries"] == 4
    assert written.loc[("p2m", True), "per_fault"] == written.loc[("p2m", True), "n_lookups"] / 4
    assert written.loc[("m2p", True), "n_lookups"] > written.loc[("m2p", False), "n_lookups"]
    fig = figure("build-translations", recording)
    (ax,) = fig.axes
    assert ax.get_title(loc="left") == "made: lookups for each page fault"
    most = rows.groupby("class")["n_lookups"].sum().idxmax()
    assert ax.get_yticklabels()[0].get_text() == class_title(most)


def test_recordings_of_one_tool_are_told_apart() -> None:
    one = made.two_processes()
    found = table("build-translations", [one, one, replace(one, about=replace(one.about, tool="$a_"))])
    assert list(dict.fromkeys(found["recording"])) == ["made, 1", "made, 2", r"\$a_"]


def test_locality_is_that_of_the_stream() -> None:
    recording = made.two_processes()
    guest = p2mperf.Guest.plain("8G", geometry="pv64")
    counted = count_locality(make_stream(recording, guest))
    rows = table("build-locality", recording)
    assert set(rows["recording"]) == {"made"}
    for unit in ("entry lines", "leaves", "mid lines", "GiB slots"):
        of_unit = rows[rows["unit"] == unit].set_index("panel")
        assert of_unit.loc[locality.WORKING_SET, "y"] == counted.touched[unit].n_units
        shares = rows[(rows["unit"] == unit) & (rows["panel"] == locality.TOUCHED)]
        # Every write touches something, and at most as many units as it asks for.
        assert shares["y"].sum() == pytest.approx(1)
        assert (shares["x"] * shares["y"]).sum() == pytest.approx(counted.mean(unit, Entered.ANONYMOUS_WRITE))
        reuse = rows[(rows["unit"] == unit) & (rows["panel"] == locality.REUSE)]["y"]
        assert reuse.is_monotonic_increasing
        assert reuse.iloc[-1] == pytest.approx(counted.touched[unit].share_reused)
    assert [ax.get_title(loc="left") for ax in figure("build-locality", recording).axes] == [
        locality.REUSE,
        locality.TOUCHED,
        locality.STEPS,
        locality.WORKING_SET,
    ]


# ---- build-seconds ----


def test_seconds_are_those_of_the_result_and_of_the_commit() -> None:
    found = made.build()
    rows = table("build-seconds", found).set_index(["time", "origin"])
    # 32:50 -> 32:35, 18:07 -> 17:47, 104:00 -> 103:30
    published = rows.xs("published", level="origin")["middle_s"]
    assert published.to_dict() == {"Elapsed time": -15, "System": -20, "User": -30}
    # 1.96 * sqrt(2) * 1.1 % of 18:07 = 33.1 s to either side
    assert rows.loc[("System", "published"), "high_s"] == pytest.approx(-20 + 33.1, abs=0.1)
    assert found.system.here is not None
    assert found.system.modelled is not None
    assert rows.loc[("System", "measured"), "middle_s"] == found.system.here.middle
    assert rows.loc[("System", "modelled"), "low_s"] == found.system.modelled.low
    # User time was not measured, and nothing is drawn for it.
    assert ("User", "measured") not in rows.index


def test_published_measured_and_modelled_share_no_marker() -> None:
    (ax,) = figure("build-seconds", made.build()).axes
    looks = {
        bars.get_label().split(":")[0] + bars.get_label()[-7:]: bars.lines[0].get_marker()
        for bars in ax.containers
    }
    assert len(looks) == len(set(looks.values())) == 3
    said = {text.get_text() for text in ax.texts}
    assert "-20.0 s [-53, +13]" in said


def test_what_is_not_bounded_is_said_to_be_open() -> None:
    # Two processes have no interval of 95 %: their own factor is open, and so is what stands on it.
    (ax,) = figure("build-seconds", made.build(n_processes=2)).axes
    assert any(text.get_text().endswith("[open, open]") for text in ax.texts)


def test_swapped_designs_turn_the_predicted_seconds() -> None:
    straight, turned = (
        table("build-seconds", predict(counts(), made.replays(), before=before, after=after)).set_index(
            ["time", "origin"]
        )
        for before, after in (made.DESIGNS, made.DESIGNS[::-1])
    )
    for origin in ("measured", "modelled"):
        row = ("System", origin)
        assert turned.loc[row, "middle_s"] == pytest.approx(-straight.loc[row, "middle_s"])
    assert turned.loc[("System", "published"), "middle_s"] == -20


# ---- build-tornado ----


def test_the_widest_bar_is_first_and_holds_the_estimate() -> None:
    found = made.build()
    rows = table("build-tornado", found)
    widths = rows.groupby("name", sort=False)["seconds"].agg(lambda ends: ends.max() - ends.min())
    assert widths.is_monotonic_decreasing
    assert list(widths.index) == [swing.name for swing in found.swings]
    assert rows.attrs["published_s"] == -20
    faults = rows[rows["name"] == "page faults"]["seconds"]
    assert faults.min() < rows.attrs["estimate_s"] < faults.max()
    (ax,) = figure("build-tornado", found).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == list(widths.index)
    assert len(ax.patches) == len(widths)
    # What moves the computed road is hatched, and no bar of what was measured.
    hatched = {name for name, bar in zip(widths.index, ax.patches, strict=True) if bar.get_hatch()}
    assert hatched == {"caches of the laptop", "clock of the laptop"}
    cold = rows[rows["name"] == "how cold an entry is"].set_index("end")["origin"]
    assert cold.to_dict() == {"tight": "measured", "all from memory": "modelled"}


@pytest.mark.parametrize("name", ["build-seconds", "build-tornado"])
def test_what_is_no_build_is_one_sentence(name: str) -> None:
    with pytest.raises(BadInputError, match="a kernel build is wanted, not "):
        table(name, made.replays())


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
    title = p2mperf.figure(name, made.replays()).get_suptitle().replace("\n", " ")
    assert title == find(name).title_of(table(name, made.replays()))


# ---- plot ----


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    recording = made.two_processes()
    about = replace(recording.about, cpus={0: CpuCount(recording.n_events, 0, 0)})
    write_recording(replace(recording, about=about), tmp_path / "build.parquet")
    write_replays(made.replays(), tmp_path / "replays.json")
    return {name: str(tmp_path / name) for name in ("build.parquet", "replays.json", "figures")}


def test_plot_draws_from_the_files_that_are_named(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--recording", files["build.parquet"], "--replays", files["replays.json"]]
    options += ["--out", files["figures"], "--format", "svg"]
    assert main(["plot", "build-translations", "build-cold", *options]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{files['figures']}/{name}.svg" for name in ("build-translations", "build-cold")
    ]
    assert err == ""  # no results were asked for
    # Text of a figure is text in it: what was recorded by a test, on a processor that a test has named.
    drawn = Path(files["figures"])
    assert "made: lookups for each page fault" in (drawn / "build-translations.svg").read_text("utf-8")
    assert "Example 9000" in (drawn / "build-cold.svg").read_text("utf-8")


def test_plot_refuses_two_recordings_where_one_is_predicted_from(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--recording", files["build.parquet"]] * 2 + ["--out", files["figures"]]
    assert main(["plot", "build-seconds", *options]) == 2
    assert "name one --recording" in capsys.readouterr().err


def test_plot_says_what_is_wrong_with_a_file(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--replays", files["build.parquet"], "--out", files["figures"]]
    assert main(["plot", "build-cold", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "it is no JSON" in line
