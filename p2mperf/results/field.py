"""What one name in results is: its type, unit and meaning, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from p2mperf.results.values import ValueType


@dataclass(frozen=True)
class Field:
    """One name in results.

    Parameters
    ----------
    name : str
        Its name; ends in the unit where there is one.
    type : ValueType
        What it may hold.
    doc : str
        One line.
    unit : str
        Unit as people write it; empty for names and pure counts.
    records : tuple of str
        Of `p2mperf.results.fields.LINES` and `PARTS`, those it stands in; none for what only the samples
        frame has.
    is_column : bool
        Whether the samples frame has it as a column.
    is_axis : bool
        Whether samples that differ in it belong to different cells.
    key : str
        How its value is written in the key of its unit or cell, ``{}`` for the value; empty when the key does
        not name it.
    optional : bool
        Whether a record may have null there, or leave it out.
    absent : int or str, optional
        What it means when it is left out: the samples frame says it, and a key does not name it.
    """

    name: str
    type: ValueType
    doc: str
    unit: str = ""
    records: tuple[str, ...] = ()
    is_column: bool = True
    is_axis: bool = False
    key: str = ""
    optional: bool = False
    absent: int | str | None = None

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def cell_type(self) -> ValueType:
        """What one value of its column may be."""
        return self.type.each or self.type
