"""A results directory is ours by a marker file; one that holds something else is left alone."""

from __future__ import annotations

import json
from pathlib import Path

from p2mperf.errors import ResultsError
from p2mperf.results.fields import VERSION
from p2mperf.results.files import TEMPORARY, make_directory, replace_file
from p2mperf.results.records import check_version

MARKER = "p2mperf-results.json"


def claim_directory(directory: str | Path) -> Path:
    """Make a directory ours if it is new or empty; refuse one that holds something else.

    Parameters
    ----------
    directory : str or Path
        Results directory to be.

    Returns
    -------
    Path
        The directory, which exists and holds the marker file.

    Raises
    ------
    ResultsError
        When it is not ours, of a newer schema, or cannot be made or written to.
    """
    directory = Path(directory)
    make_directory(directory)
    if not is_ours(directory):
        content = json.dumps({"p2mperf_results": VERSION}) + "\n"
        replace_file(directory / MARKER, lambda path: path.write_text(content))
    return directory


def is_ours(directory: Path) -> bool:
    """Tell whether a directory is a results directory.

    Parameters
    ----------
    directory : Path
        The directory, or where one could be.

    Returns
    -------
    bool
        True with our marker, False when it is missing or empty.

    Raises
    ------
    ResultsError
        When it holds something else, is of a newer schema, or cannot be read.
    """
    try:
        version = json.loads((directory / MARKER).read_text())["p2mperf_results"]
    except FileNotFoundError:
        return _refuse_foreign(directory)
    except OSError as error:
        raise ResultsError(f"cannot read results in {directory}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ResultsError(
            f"{directory / MARKER} is damaged: if the directory holds p2mperf results, write "
            f'{{"p2mperf_results": {VERSION}}} into that file'
        ) from error
    check_version(version, f"{directory}")
    return True


def _refuse_foreign(directory: Path) -> bool:
    try:
        names = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ResultsError(f"cannot read results in {directory}: {error.strerror}") from error
    if any(not name.startswith(TEMPORARY) for name in names):
        raise ResultsError(
            f"{directory} is not a p2mperf results directory (it has files but no {MARKER}): "
            "name another one, new or empty"
        )
    return False
