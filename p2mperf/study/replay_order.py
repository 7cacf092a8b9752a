"""What a process that replays is told, and how times come back from it: plain data."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from p2mperf.measure.interference import Victim
from p2mperf.measure.stretch import Floats, Phases
from p2mperf.results.fields import Record
from p2mperf.study.specs import GuestSpec
from p2mperf.workload.translation_stream import TranslationStream

_COLUMNS = {"items": np.uint32, "starts": np.int64, "entered": np.uint8, "gaps_ns": np.uint32}


@dataclass(frozen=True)
class ReplayOrder:
    """All that such a process is told.

    Attributes
    ----------
    guest : GuestSpec
        Guest to build.
    seed : int
        Of its machine, and of the order of designs.
    designs : tuple of str
        What to build.
    control : bool
        Whether to build the first once more.
    backing : str
        Page sizes.
    stream : TranslationStream
        The stretch.
    phases : Phases
        How it is cut.
    conditions : tuple of str
        What to replay under.
    work_bytes : int
        Of ``cold`` [bytes].
    touches_per_us : float
        Of ``cold``; 0: to be found out [1/us].
    victims : tuple of Victim
        Work to time after entries.
    gaps_ns : tuple of float
        How long it works each time, roughly [ns].
    n_touches : tuple of int
        For each victim and gap, lines that it reads; empty: to be found out.
    """

    guest: GuestSpec
    seed: int
    designs: tuple[str, ...]
    control: bool
    backing: str
    stream: TranslationStream
    phases: Phases
    conditions: tuple[str, ...] = ()
    work_bytes: int = 0
    touches_per_us: float = 0.0
    victims: tuple[Victim, ...] = ()
    gaps_ns: tuple[float, ...] = ()
    n_touches: tuple[int, ...] = ()

    def to_json(self) -> Record:
        """Plain data, as it goes to a process."""
        rest = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("guest", "stream")
        }
        columns = {name: packed(getattr(self.stream, name)) for name in _COLUMNS}
        return {
            **rest,
            "guest": asdict(self.guest),
            "phases": asdict(self.phases),
            "victims": [asdict(victim) for victim in self.victims],
            "stream": {**columns, "n_guest_frames": self.stream.n_guest_frames, "thp": self.stream.thp},
        }

    @classmethod
    def from_json(cls, data: Record) -> Self:
        """Read what `to_json` made, alone or among other things."""
        told = {name: data[name] for name in cls.__dataclass_fields__}
        stream = told["stream"]
        columns: dict[str, Any] = {name: unpacked(stream[name], dtype) for name, dtype in _COLUMNS.items()}
        told |= {
            "guest": GuestSpec(**told["guest"]),
            "phases": Phases(**told["phases"]),
            "victims": tuple(Victim(**victim) for victim in told["victims"]),
            "stream": TranslationStream(**{**stream, **columns}),
        }
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        return cls(**made)


def packed(array: NDArray[Any]) -> str:
    """Write an array as text."""
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()


def unpacked(text: str, dtype: Any) -> NDArray[Any]:
    """Read what `packed` wrote."""
    return np.frombuffer(b64decode(text), dtype).copy()


def packed_times(times: Floats) -> str:
    """Write times as text, to seven digits."""
    return packed(times.astype(np.float32))


def unpacked_times(text: str) -> Floats:
    """Read what `packed_times` wrote."""
    return unpacked(text, np.float32).astype(np.float64)
