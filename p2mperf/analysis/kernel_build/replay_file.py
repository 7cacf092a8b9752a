"""The file that replays are kept in: JSON, written whole, and strictly read."""

from __future__ import annotations

from pathlib import Path

from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results.files import as_path, make_directory, read_regular, replace_file, told
from p2mperf.results.plain import decoded, encoded
from p2mperf.workload.replays import Replays


def read_replays(path: str | Path) -> Replays:
    """Read replays from a file.

    Parameters
    ----------
    path : str or Path
        A file that `write_replays` wrote.

    Returns
    -------
    Replays

    Raises
    ------
    ResultsError
        When it cannot be read, or holds something else.
    """
    file = as_path(path)
    text = read_regular(file)
    try:
        return Replays.from_json(decoded(text))
    except (BadInputError, ResultsError) as error:
        raise ResultsError(f"cannot read {told(file)}: {error}") from error
    except ValueError as error:
        raise ResultsError(f"cannot read {told(file)}: it is no JSON, or was cut off") from error


def write_replays(replays: Replays, path: str | Path) -> None:
    """Write replays to a file, whole or not at all.

    Parameters
    ----------
    replays : Replays
        What to write.
    path : str or Path
        Where to; its directory is made.

    Raises
    ------
    ResultsError
        When it cannot be written.
    """
    file, text = as_path(path), encoded(replays.to_json()) + b"\n"
    if file.parent != file:
        make_directory(file.parent)
    replace_file(file, lambda temporary: temporary.write_bytes(text))
