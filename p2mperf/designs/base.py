"""What a design is: tables built for a guest, and the questions every one of them answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from traceback import clear_frames
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.backing import Backing, backing as find_backing
from p2mperf.designs.explained import Explained
from p2mperf.designs.namesakes import refuse_namesakes
from p2mperf.designs.passing import lead_through_door, through_door
from p2mperf.errors import AuditError, BadInputError, cut
from p2mperf.guests.frames import frame_numbers, word
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.host.maps import page_table_bytes
from p2mperf.kernels import trace, translate_into
from p2mperf.memory.door import Door
from p2mperf.memory.owned import Owned


@dataclass(frozen=True)
class Footprint:
    """What a design takes.

    Attributes
    ----------
    pages : dict of str to int
        Pages of the tables by kind.
    n_vmas : int
        Mappings of its window; 0 without one.
    memory_bytes : int
        Blocks of the memfd, and anonymous memory [bytes].
    page_table_bytes : int
        This host's page tables for its views; counted, it is what the process has grown since the design
        was begun [bytes].
    """

    pages: dict[str, int]
    n_vmas: int
    memory_bytes: int
    page_table_bytes: int

    @property
    def n_pages(self) -> int:
        return sum(self.pages.values())


class Load(NamedTuple):
    """One load of a lookup: where it went.

    Attributes
    ----------
    level : str
        Kind of page that was read.
    view : str
        "direct" or "window".
    frame : int
        Pool frame of the page.
    index : int
        Position of the word in the page, in units of its entry.
    address : int
        Address that was read.
    """

    level: str
    view: str
    frame: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a load
    address: int


class Stretch(NamedTuple):
    """Memory of this process that lookups can read.

    Attributes
    ----------
    view : str
        "direct", "window" or another, as `Design.views` names it.
    address, n_bytes : int
        Where it is, in whole pages [bytes].
    """

    view: str
    address: int
    n_bytes: int


class Lookup(NamedTuple):
    """Answer to one lookup, and the way to it."""

    pfn: int
    entry: int
    steps: tuple[Load, ...]


class _Kept(ExitStack):
    """What a design gives back when it is closed, and only then."""

    def close(self) -> None:
        """Refuse to: the design would go on with what is not there any more."""
        raise BadInputError("what a design keeps is given back by its own close()")


class Design(Owned, ABC):
    """One translation layout, built for one guest.

    Attributes
    ----------
    name : str
        As registered.
    follows : str
        System and version whose behaviour it reproduces.
    family : str
        Designs it is compared with: a name of `p2mperf.families`.
    options : frozenset of str
        What it can be built with besides guest and backing: ``limit``, memory that may be hot-plugged later
        [bytes], and others of its own.
    tables : NamedTuple
        What the compiled loops take.
    state : tuple
        What a walk starts with.
    page_bytes : int
        Page size of all its views, whatever backing is asked for; 0: as the backing says [bytes].
    one_at_a_time : bool
        Whether a lookup writes, so that threads must take turns.
    shows_any : frozenset of str
        Methods for which it does not matter whose tables a shared view shows.
    build_ns, mfn_generation_ns : int
        Time to build, and of that, to write the entries [ns].
    kept : ExitStack
        What `close` gives back, the last first.
    """

    name: ClassVar[str]
    follows: ClassVar[str]
    family: ClassVar[str] = ""
    options: ClassVar[frozenset[str]] = frozenset()
    tables: NamedTuple
    state: tuple[object, ...] = ()
    build_ns: int = 0
    mfn_generation_ns: int = 0
    page_bytes: ClassVar[int] = 0
    one_at_a_time: ClassVar[bool] = False
    shows_any: ClassVar[frozenset[str]] = frozenset()
    _options_asked: dict[str, object]
    _door: Door

    def __new__(cls, *arguments: object, **options: object) -> Self:
        require_guest(arguments[0] if arguments else options.get("guest"))
        cls.check_options(options)
        design = super().__new__(cls)
        design._options_asked = options
        design._door = Door(f"this {cls.name}", "build it again", one_at_a_time=cls.one_at_a_time)
        return design

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        lead_through_door(cls, Design)

    def __init__(self, guest: Guest, backing: str | Backing = "kernel", **options: object) -> None:
        self.guest = guest
        self.backing = self.backing_of(backing)
        self.kept: ExitStack = _Kept()
        self._page_tables_before_bytes = page_table_bytes()

    @classmethod
    def check_options(cls, options: Iterable[str]) -> None:
        """Refuse what it cannot be built with.

        Raises
        ------
        BadInputError
            Naming the options that are none of its own.
        """
        if strange := [name for name in options if name not in cls.options | {"guest", "backing"}]:
            raise BadInputError(f"{cls.name} has no option {', '.join(map(cut, strange))}")

    @classmethod
    def backing_of(cls, backing: str | Backing) -> Backing:
        """Find the page sizes of its views for a backing that is asked for, by name or as it is.

        Returns
        -------
        Backing
            Of the design's own page size, where it has one.

        Raises
        ------
        BadInputError
            When there is none of that name.
        """
        found = find_backing(backing, cls.family)
        return Backing(found.name, cls.page_bytes, cls.page_bytes) if cls.page_bytes else found

    @classmethod
    def out_of_reach(cls, guest: Guest) -> str:
        """Say why a guest's frames are not all in its tables, so that no sweep compares them; "" if they are.

        The reason stands behind the design's name.
        """
        return ""

    @classmethod
    @abstractmethod
    def predict_footprint(cls, guest: Guest, backing: str | Backing = "kernel") -> Footprint:
        """Say by arithmetic on the guest alone what `footprint` will count.

        A design takes besides, by their names, the options that it would be built with. Those that change
        nothing of its footprint are passed over.

        Parameters
        ----------
        guest : Guest
            For whom.
        backing : str or Backing
            Page sizes of the views.
        """

    @abstractmethod
    def footprint(self) -> Footprint:
        """Count what the design takes."""

    @abstractmethod
    def audit(self) -> None:
        """Check every invariant against the memory itself.

        Raises
        ------
        AuditError
            Naming the first broken invariant.
        """

    @abstractmethod
    def step_at(self, address: int) -> Load:
        """Say what stands at an address that a walk has read."""

    @abstractmethod
    def views(self) -> dict[str, int]:
        """Page size that really maps each view, by view: 4096, 2 MiB, or 0 where mixed [bytes]."""

    def stretches(self) -> tuple[Stretch, ...]:
        """What its lookups can read, as it is reached, to be touched before they are timed; () for none."""
        return ()

    def explain(self, entry: int) -> Explained:
        """Read a raw entry: its ``kind``, and its ``mfn`` or None."""
        return {"kind": "entry", "mfn": entry}

    def close(self) -> None:
        """Give everything back once nobody is using it; a second call does nothing.

        From then on whoever asks it something is refused. In a fork's child it gives nothing back, and
        answers nothing: the tables are the parent's.
        """
        self._door.close(partial(ExitStack.close, self.kept))

    @property
    def closed(self) -> bool:
        """Whether everything was given back."""
        return self._door.closed

    def in_use(self) -> Door:
        """Hold it open in a with statement: what `tables` lead to stays there until the end of it.

        Every public method does so by itself. It is the design's door, which parts beside it may keep.

        Raises
        ------
        ClosedError
            When it was closed, or stands on something that was, or belongs to another process.
        """
        return self._door

    def _show_own(self) -> None:
        """Let what is shared with others show what is this design's; nothing, where nothing is shared."""

    @contextmanager
    def building(self) -> Iterator[None]:
        """Time what is built inside; where that fails, give everything back."""
        start = perf_counter_ns()
        try:
            yield
            refuse_namesakes(self.name, self.tables, self.state)
        except BaseException as error:
            # Who keeps the error keeps what its frames hold: views, and with them what is to be given back.
            clear_frames(error.__traceback__)
            self.close()
            raise
        self.build_ns = perf_counter_ns() - start

    def __enter__(self) -> Self:
        with self.in_use():  # what is closed is refused before anything is done with it
            return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def again(self, **options: object) -> Self:
        """Build the same for the same guest once more, beside this one.

        Parameters
        ----------
        **options
            Take the place of those that this one was built with.

        Returns
        -------
        Design
            As it was when it was built: nothing that was written since is in it.
        """
        asked = {
            name: value for name, value in self._options_asked.items() if name not in ("guest", "backing")
        }
        return type(self)(self.guest, self.backing, **{**asked, **options})

    def page_table_bytes(self) -> int:
        """Page tables that this process has grown since the design was begun [bytes]."""
        return max(0, page_table_bytes() - self._page_tables_before_bytes)

    @through_door
    def lookup(self, pfns: ArrayLike) -> Words:
        """Translate frames.

        Parameters
        ----------
        pfns : array_like of unsigned or non-negative int
            Frames, of any value that fits 64 bits.

        Returns
        -------
        ndarray of uint64
            Raw entries, marker bits included, in the shape of `pfns`.

        Raises
        ------
        BadInputError
            When `pfns` are not whole, non-negative numbers.
        ClosedError
            When the design was closed.
        """
        return translated(self.tables, self.state, self._frames(pfns), self.guest.geometry.entry_bits)

    @through_door
    def lookup_path(self, pfn: int) -> Lookup:
        """Translate one frame and tell every load on the way.

        Raises
        ------
        BadInputError, ClosedError
            As `lookup`.
        """
        frame = self._frames([word(pfn)])[0]
        probe = np.zeros(64, np.uint64)
        entry = trace(self.tables, self.state, probe, frame)
        addresses = probe[1 : 1 + int(probe[0])].tolist()
        entry = int(entry) & (2**self.guest.geometry.entry_bits - 1)  # as `translated`
        return Lookup(int(frame), entry, tuple(map(self.step_at, addresses)))

    def _frames(self, pfns: ArrayLike, what: str = "frames") -> Words:
        frames = frame_numbers(pfns, what)
        self._door.check()  # again: making an array may run anybody's code
        return frames

    def _require(self, holds: ArrayLike, invariant: str) -> None:
        if not np.all(holds):
            raise AuditError(f"{self.name} of {self.guest.name}: {invariant}")


def translated(tables: NamedTuple, state: tuple[object, ...], pfns: Words, entry_bits: int) -> Words:
    """Translate frames by tables alone.

    Parameters
    ----------
    tables, state
        A design's.
    pfns : ndarray of uint64
        Frames.
    entry_bits : int
        Bits of an entry.

    Returns
    -------
    ndarray of uint64
        Raw entries, in the shape of `pfns`.
    """
    out = np.empty(pfns.shape, np.uint64)
    translate_into(tables, state, pfns.ravel(), out.reshape(-1))
    # A frame that no register of a 32-bit kernel holds: above the map, in what its entries can say.
    return out & np.uint64(2**entry_bits - 1)
