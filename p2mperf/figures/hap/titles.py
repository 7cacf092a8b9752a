"""What titles of panels about HAP say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def shape_note(table: pd.DataFrame, row: Any) -> str:
    """What to add to a title of a row of a table: its geometry, where there are several."""
    return f", {row.geometry}" if len(set(table["geometry"])) > 1 else ""
