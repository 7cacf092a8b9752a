"""Tables for readers: labels in words, short numbers, shades that mean something, no more rows than asked."""

from __future__ import annotations

import re

import pandas as pd
import pytest

import p2mperf
from p2mperf.errors import BadInputError


def body(table: pd.DataFrame, **options: object) -> str:
    return str(p2mperf.shown(table, **options).to_html())  # type: ignore[arg-type]


def shades(html: str) -> list[str]:
    return re.findall(r"background-color: (#\w+)", html)


def test_cells_are_written_as_people_read_them() -> None:
    table = pd.DataFrame(
        {
            "n_pages": [1234567],
            "cost_ns": [12.3456],
            "guest_bytes": [2049 << 20],
            "open": [True],
            "low": [None],
        }
    )
    html = body(table)
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", html)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert heads == ["pages", "cost [ns]", "guest's memory", "open", "from"]
    assert cells == ["1,234,567", "12.3", "2049M", "yes", "-"]


def test_what_somebody_named_is_text() -> None:
    assert "<b>" not in body(pd.DataFrame({"design": ["<b>mine</b>"]}))


def test_ratios_are_shaded_by_their_side_of_one() -> None:
    html = body(pd.DataFrame({"ratio": [4.0, 1.0, 0.25]}))
    # A factor of two and more has the whole colour, to either side; 1 is white.
    assert shades(html) == ["#56b4e9", "#ffffff", "#e69f00"]
    assert shades(body(pd.DataFrame({"ratio": [1.5]}), ratios=[])) == []
    assert len(shades(body(pd.DataFrame({"said": ["1.5 list"]}), by=pd.DataFrame({"said": [1.5]})))) == 1


def test_amounts_are_shaded_by_size() -> None:
    # The largest is (175, 175, 175); half of it is half way to white: 255 - 80 / 2 = 215.
    assert shades(body(pd.DataFrame({"n": [0, 2, 4]}), amounts=["n"])) == ["#d7d7d7", "#afafaf"]


def test_a_long_table_is_cut_and_says_so() -> None:
    html = body(pd.DataFrame({"n": range(5)}), caption="Five.", n_rows=2)
    assert html.count("<td") == 2
    assert "Five. (the first 2 of 5 rows)" in html


def test_a_table_is_the_same_bytes_each_time() -> None:
    table = pd.DataFrame({"ratio": [1.5]}, index=["a"])
    assert body(table) == body(table.copy())


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (3, {}, "a table is shown, as pandas has them, not 3"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "names of their own"),
        (pd.DataFrame({"a": [1]}), {"ratios": ["b"]}, "no column 'b'; it has a"),
        (pd.DataFrame({"a": [1]}), {"n_rows": 0}, "n_rows"),
    ],
)
def test_what_is_no_table_is_refused(table: object, options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        p2mperf.shown(table, **options)  # type: ignore[arg-type]
