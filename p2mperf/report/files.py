"""Files of a report that is being written, and what the page calls them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Files:
    """A folder with tables and figures in it.

    Attributes
    ----------
    folder : Path
        Where the page is going to stand.
    """

    folder: Path

    def csv(self, name: str, frame: pd.DataFrame, key: str = "") -> str:
        """Write all columns and digits of a table.

        Parameters
        ----------
        name : str
            Of the file, without its ending.
        frame : pandas.DataFrame
            The table.
        key : str
            Chapter that it belongs to.

        Returns
        -------
        str
            What the page calls the file.
        """
        # A design of somebody else may have any name, and a file may not.
        path = self._in("tables", key) / f"{quote(name, safe='')}.csv"
        frame.to_csv(path, index=frame.index.name is not None, lineterminator="\n")
        return self.relative(path)

    def figures(self, key: str) -> Path:
        """Where the figures of a chapter are; made if missing."""
        return self._in("figures", key)

    def written(self) -> list[str]:
        """Addresses of all files that are there, by name."""
        return sorted(self.relative(path) for path in self.folder.rglob("*") if path.is_file())

    def relative(self, path: Path) -> str:
        """What the page calls a file of the folder: a relative address."""
        return quote(path.relative_to(self.folder).as_posix())

    def _in(self, kind: str, key: str) -> Path:
        directory = self.folder / kind / key
        directory.mkdir(parents=True, exist_ok=True)
        return directory
