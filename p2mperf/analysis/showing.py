"""Tables as people read them: short, shaded, and with labels in words."""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.errors import BadInputError, P2mperfError, shown as told
from p2mperf.units import readable_size, whole_number

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler
    from pandas.io.formats.style_render import CSSDict

# What a column is called, where its name alone does not say it.
_WORDS = {
    "cost_ns": "cost [ns]",
    "design": "design",
    "entry_bits": "bits of an entry",
    "entry_bytes": "bytes of an entry",
    "guest_bytes": "guest's memory",
    "high": "to",
    "high_ns": "highest [ns]",
    "low": "from",
    "low_ns": "lowest [ns]",
    "reference_ns": "reference's cost [ns]",
    "said": "finding",
    "stream_label": "stream",
}
_UNITS = {"_ns": "ns", "_s": "s", "_percent": "%"}
_BYTES = "_bytes"
_IN_BYTES = ("entry_bytes",)  # too small for a suffix
# Blue where the reference is faster, orange where the other design is: told apart in grey by the sign of the
# number, and by whoever does not see red and green.
_ABOVE, _BELOW, _AMOUNT = (86, 180, 233), (230, 159, 0), (175, 175, 175)
_FULL_LOG = math.log(2)  # a ratio of 2, or of a half, has the full colour
_STYLES: list[CSSDict] = [
    {"selector": "th", "props": "text-align: left; font-weight: 600; padding: 0.25em 0.7em"},
    {
        "selector": "td",
        "props": "text-align: left; padding: 0.25em 0.7em; font-variant-numeric: tabular-nums",
    },
    {
        "selector": "caption",
        "props": "caption-side: top; text-align: left; padding: 0.4em 0; white-space: nowrap",
    },
]


def label_of(name: str) -> str:
    """Call a column what people call it.

    Parameters
    ----------
    name : str
        The column's name.

    Returns
    -------
    str
        In words, with its unit in brackets.

    Examples
    --------
    >>> [label_of(name) for name in ("cost_ns", "n_pages", "saved_percent", "view_bytes", "hole_ratio")]
    ['cost [ns]', 'pages', 'saved [%]', 'view', 'hole ratio']
    """
    if name in _WORDS:
        return _WORDS[name]
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return f"{label_of(name.removesuffix(ending))} [{unit}]"
    return name.removesuffix(_BYTES).removeprefix("n_").replace("_", " ")


def shown(
    table: pd.DataFrame,
    caption: str = "",
    *,
    words: Mapping[str, str] | None = None,
    ratios: Collection[str] | None = None,
    amounts: Collection[str] = (),
    by: pd.DataFrame | None = None,
    n_rows: int = 12,
) -> Styler:
    """Show a table in a notebook: short, shaded, and with labels in words.

    Parameters
    ----------
    table : pandas.DataFrame
        What to show. Its index is shown where it has names or labels of its own.
    caption : str
        A sentence above it.
    words : mapping of str to str, optional
        What columns are called; others are called what `label_of` makes of their names.
    ratios : collection of str, optional
        Columns shaded around 1: blue above, orange below. Default: those whose name ends with ``ratio``.
    amounts : collection of str
        Columns shaded by how large their numbers are.
    by : pandas.DataFrame, optional
        Ratios that shade the cells of columns that hold text; of the same index and columns.
    n_rows : int
        So many rows are shown, and the caption says how many there are.

    Returns
    -------
    pandas.io.formats.style.Styler
        The same bytes for the same table.

    Raises
    ------
    BadInputError
        When it is no table with a name for each column, or a column that is to be shaded is not there.
    P2mperfError
        When jinja2 is not installed, which pandas styles tables with.

    Examples
    --------
    >>> table = pd.DataFrame({"design": ["pv-tree"], "cost_ns": [12.345], "ratio": [1.3456]})
    >>> html = shown(table).to_html()
    >>> [text in html for text in ("cost [ns]", "12.3", "1.35")]
    [True, True, True]
    """
    if not isinstance(table, pd.DataFrame):
        raise BadInputError(f"a table is shown, as pandas has them, not {told(table)}")
    n_rows = whole_number(n_rows, "n_rows", least=1)
    names = [str(name) for name in table]
    if len(set(names)) < len(names) or not table.index.is_unique:
        raise BadInputError("a table is shown whose columns and rows have names of their own")
    chosen = [name for name in names if name.endswith("ratio")] if ratios is None else list(ratios)
    if missing := sorted({*chosen, *amounts} - set(names)):
        raise BadInputError(f"this table has no column {told(missing[0])}; it has {', '.join(names)}")
    cut = table.head(n_rows).set_axis(names, axis="columns")
    cut.index = cut.index.set_names([name and label_of(str(name)) for name in table.index.names])
    labels = [escape((words or {}).get(name, label_of(name)), quote=False) for name in names]
    styler = _styler_of(cut).format({name: _form_of(name) for name in names}, na_rep="-", escape="html")
    for name in names:
        if by is not None and name in by:
            styler = styler.apply(_shades_by, subset=[name], by=by[name].head(n_rows))
        elif name in chosen:
            styler = styler.apply(_ratio_shades, subset=[name])
        elif name in amounts:
            styler = styler.apply(_amount_shades, subset=[name])
    styler = styler.format_index(_index_label).relabel_index(labels, axis="columns")
    if isinstance(table.index, pd.RangeIndex):
        styler = styler.hide(axis="index")
    said = f"{caption} (the first {n_rows} of {len(table)} rows)" if len(table) > n_rows else caption
    styler = styler.set_caption(escape(said.strip(), quote=False)) if said.strip() else styler
    return styler.set_table_styles(_STYLES).set_uuid(_name_of(cut, said))


def _styler_of(table: pd.DataFrame) -> Styler:
    try:
        from pandas.io.formats.style import Styler
    except ImportError as error:
        raise P2mperfError("jinja2 is missing, which p2mperf needs: pip install 'jinja2>=3.1.5'") from error
    return Styler(table, cell_ids=False)


def _index_label(value: object) -> str:
    """Write what stands before a row, as the kind of a page."""
    return escape(str(value).replace("_", " "), quote=False)


def _name_of(table: pd.DataFrame, caption: str) -> str:
    """A name of its own for the table's styles, the same each time: pandas would draw one at random."""
    return hashlib.sha256(f"{caption}{table.to_csv()}".encode()).hexdigest()[:8]


def _form_of(name: str) -> Callable[[object], str]:
    """How the cells of a column are written."""
    if name.endswith(_BYTES) and name not in _IN_BYTES:
        return lambda value: (
            readable_size(int(float(value))) if isinstance(value, numbers.Real) else str(value)
        )
    return _written


def _written(value: object) -> str:
    """Write a cell: numbers to three digits, truth as yes and no, all else as it is.

    Examples
    --------
    >>> [_written(value) for value in (1234567, 12.3456, 0.01234, 123456.7, True, "x")]
    ['1,234,567', '12.3', '0.0123', '123,457', 'yes', 'x']
    """
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        value = float(value)
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return str(value)


def _shades_by(column: pd.Series, by: pd.Series) -> list[str]:
    """Style of each cell of a column of text, by the ratios behind it."""
    return _ratio_shades(by)


def _ratio_shades(column: pd.Series) -> list[str]:
    return [_around_one(float(ratio)) for ratio in pd.to_numeric(column, errors="coerce")]


def _around_one(ratio: float) -> str:
    if not ratio > 0 or not math.isfinite(ratio):
        return ""
    log = math.log(ratio)
    return _shade(_ABOVE if log > 0 else _BELOW, min(abs(log) / _FULL_LOG, 1.0))


def _amount_shades(column: pd.Series) -> list[str]:
    sizes = pd.to_numeric(column, errors="coerce")
    largest = float(sizes.max())
    shares = sizes / largest if largest > 0 else sizes * 0
    return [_shade(_AMOUNT, float(share)) if share > 0 else "" for share in shares]


def _shade(colour: Sequence[int], share: float) -> str:
    """A colour mixed with white; letters stay dark on it, in a dark notebook too."""
    mixed = [round(255 - share * (255 - part)) for part in colour]
    return f"background-color: #{mixed[0]:02x}{mixed[1]:02x}{mixed[2]:02x}; color: #111111"
