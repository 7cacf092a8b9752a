"""What owns raw memory, or knows addresses of it: there is one of each, and no copy."""

from __future__ import annotations

from typing import NoReturn

from p2mperf.errors import BadInputError


class Owned:
    """Refuses to be copied or pickled.

    A copy would have the addresses and none of the memory behind them: closing it, or letting it go, would
    unmap under the original; in another process its addresses mean nothing.
    """

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse what copy.copy, copy.deepcopy and pickle all ask for.

        Raises
        ------
        BadInputError
            Always.
        """
        raise BadInputError(
            f"{type(self).__name__} holds raw memory and cannot be copied or pickled: build it again from "
            "the same guest"
        )
