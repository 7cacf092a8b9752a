"""Windows and walks summed up: hand-made comparisons, and who is faster where designs are swapped."""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.hap import windows

WINDOW, WALK = "hap-linear", "hap-walk"


def compared(*rows: tuple[str, float, float, str]) -> pd.DataFrame:
    """Operation, loads of the walk, ratio, and who is faster."""
    table = pd.DataFrame(rows, columns=["operation", "walk_loads", "ratio", "faster"])
    return table.assign(stream_label="uniform", design=WINDOW, reference=WALK)


def test_outcomes_are_counted_by_warmth_and_loads() -> None:
    table = compared(
        ("entry", 2.0, 1.04, WALK),
        ("latency", 4.0, 0.9, ""),
        ("latency", 2.0, 0.5, WINDOW),
        ("throughput", 2.0, 0.8, WINDOW),
    )
    other = compared(("latency", 2.0, 0.1, WINDOW)).assign(stream_label="zipf")
    found = windows.window_outcomes(pd.concat([table, other]))
    assert found.to_dict("list") == {
        "when": ["warm loops", "warm loops", "entries after other work"],
        "walk_loads": [2.0, 4.0, 2.0],
        "n_comparisons": [2, 1, 1],
        "n_window_faster": [2, 0, 0],
        "n_walk_faster": [0, 0, 1],
        "lowest_ratio": [0.5, 0.9, 1.04],
        "highest_ratio": [0.8, 0.9, 1.04],
    }


def test_costs_stand_side_by_side() -> None:
    rows = [
        ("latency", "", "hap-8g", way, leaves, cost)
        for way, costs in (("walk", (10.0, 20.0, 90.0)), ("windows", (5.0, 12.0, 80.0)))
        for leaves, cost in zip(("1 GiB", "2 MiB", "4 KiB"), costs, strict=True)
    ]
    mixed = ("latency", "", "hvm-16g-broken60", "walk", "50 % 2 MiB, 50 % 4 KiB", 60.0)
    columns = ["operation", "preamble", "guest", "way", "leaves", "cost_ns"]
    found = windows.leaf_costs(pd.DataFrame([*rows[::-1], mixed], columns=columns))
    assert list(found) == ["operation", "preamble", "guest", "way", "1 GiB", "2 MiB", "4 KiB"]
    assert found.set_index("way")[["1 GiB", "2 MiB", "4 KiB"]].to_dict("index") == {
        "walk": {"1 GiB": 10.0, "2 MiB": 20.0, "4 KiB": 90.0},
        "windows": {"1 GiB": 5.0, "2 MiB": 12.0, "4 KiB": 80.0},
    }
