"""The one way to memory that may be gone: who is inside is known, and closing waits for them.

Compiled loops run without the interpreter's lock on raw addresses. Whoever unmaps under one crashes the
process, so each use of such memory begins with a look whether it is still there, and ends where that is told.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident

from p2mperf.errors import ClosedError
from p2mperf.memory.owned import Owned, Process


class _Inside:
    """What a thread holds while it is inside, and how often it has come in."""

    __slots__ = ("depth", "lock")

    def __init__(self) -> None:
        self.lock = RLock()
        self.depth = 0


class Door(Owned):
    """Lets users in as long as what is behind it is open, and in the process that opened it.

    To be used in a with statement, by any number of threads, and again by one that is inside.

    Parameters
    ----------
    subject : str
        What is behind it, as an error says it.
    again : str
        What an error advises.
    one_at_a_time : bool
        Whether a thread that is inside keeps others out: what is behind shows one thing at a time.

    Attributes
    ----------
    closed : bool
        Whether what is behind is gone, or about to go.

    Notes
    -----
    Each thread has a lock of its own that it takes on its way in, so that threads never wait for each other;
    closing takes all of them, one after the other. A fork's child shares the memory, but none of its owner's
    threads: there nobody is let in, and closing gives nothing back.

    Examples
    --------
    >>> door = Door("this table", "build it again")
    >>> with door:
    ...     door.closed
    False
    >>> door.close(lambda: print("unmapped"))
    unmapped
    """

    def __init__(self, subject: str, again: str, *, one_at_a_time: bool = False) -> None:
        self.closed = False
        self._subject, self._again = subject, again
        self._pid = Process.pid
        self._is_closing = False
        self._inside: dict[int, _Inside] = {}
        self._only = _Inside() if one_at_a_time else None
        self._behind: tuple[Door, ...] = ()
        self._giving_back = RLock()

    def lead_on(self, door: Door) -> None:
        """Let who comes in here go through another door as well, but not through those behind it."""
        self._behind += (door,)

    def __enter__(self) -> None:
        self._enter()
        if self._behind:
            self._go_on()

    def _enter(self) -> None:
        me = get_ident()
        inside = self._only or self._inside.get(me) or self._inside.setdefault(me, _Inside())
        if Process.pid != self._pid:  # before the lock: its holder may not be here
            raise self._elsewhere()
        inside.lock.acquire()
        # Those who are inside are let finish what they do; all others are late.
        if self.closed or (self._is_closing and not inside.depth):
            inside.lock.release()
            raise self._refusal()
        inside.depth += 1

    def __exit__(self, *exc: object) -> None:
        if self._behind:
            for door in reversed(self._behind):
                door._leave()
        self._leave()

    def _leave(self) -> None:
        inside = self._only or self._inside[get_ident()]
        inside.depth -= 1
        inside.lock.release()

    def _go_on(self) -> None:
        passed: list[Door] = []
        try:
            for door in self._behind:
                door._enter()
                passed.append(door)
        except BaseException:
            for door in reversed(passed):
                door._leave()
            self._leave()
            raise

    def check(self) -> None:
        """Refuse to go on where somebody has closed it meanwhile, or in another process.

        Raises
        ------
        ClosedError
            When it was closed, or belongs to another process.
        """
        if Process.pid != self._pid:
            raise self._elsewhere()
        if self.closed:
            raise self._refusal()

    def _elsewhere(self) -> ClosedError:
        return ClosedError(f"{self._subject} belongs to the process that built it: build another one here")

    def _refusal(self) -> ClosedError:
        return ClosedError(f"{self._subject} is closed: {self._again}")

    def close(self, give_back: Callable[[], object]) -> None:
        """Let nobody in any more, wait for those who are inside, and give back what is behind.

        Parameters
        ----------
        give_back : callable
            Does that; called on a second time as well. In a fork's child it is not called: what is behind is
            the parent's.
        """
        if Process.pid != self._pid:
            self.closed = True
            return
        self._is_closing = True
        with self._giving_back:
            for inside in [self._only] if self._only else list(self._inside.values()):
                with inside.lock:  # who is inside itself does not wait for itself
                    pass
            self.closed = True
            give_back()
