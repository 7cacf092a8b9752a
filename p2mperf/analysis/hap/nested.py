"""What a processor's walk through guest and host reads, as a table."""

from __future__ import annotations

import pandas as pd

from p2mperf.model.nested_cases import nested_cases


def nested_references() -> pd.DataFrame:
    """Count what a processor reads to translate one page of a HAP guest, through both dimensions.

    The guest's tables are real, in frames of its own, and each of their frames goes through a real p2m. No
    cache helps, and nothing is timed.

    Returns
    -------
    pandas.DataFrame
        One row a guest and host: every paging and page size of a guest over a host on 4 KiB, 2 MiB and 1 GiB,
        and two over hosts of mixed sizes; columns as in `p2mperf.model.nested_cases.NestedCase`.

    Raises
    ------
    DoesNotFitError
        When memory does not suffice for the p2m of a guest of 1 GiB.

    Examples
    --------
    >>> small = nested_references().iloc[0]
    >>> int(small["n_computed"]), int(small["n_counted"]), int(small["n_lines"])
    (24, 24, 16)
    """
    return pd.DataFrame(nested_cases())
