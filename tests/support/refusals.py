"""What is said of values that no door takes: one short sentence, however they are made."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from p2mperf.errors import BadInputError, P2mperfError, shown

LONGEST = 600  # characters of a sentence, lists of known names included


@contextlib.contextmanager
def refused(kind: type[P2mperfError] = BadInputError) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    sentence = str(caught.value)
    assert len(sentence) <= LONGEST
    assert sentence == " ".join(sentence.split())


class Mute:
    """Cannot be shown, and cannot be looked up."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def case(value: object) -> str:
    """Name a case: as a sentence shows it, but without addresses, which are others in each process."""
    return re.sub(r"( at 0|\.\.\.)x[0-9a-f]+", "", shown(value))
