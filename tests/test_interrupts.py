"""Ctrl-C at any moment: 130, and no traceback."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba.core.event
import pytest

from p2mperf.jit import njit


class Interrupt(numba.core.event.Listener):  # type: ignore[misc]
    """Presses Ctrl-C once, when numba begins with something."""

    done = False

    def on_start(self, event: Any) -> None:
        if not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def pressed_at(kind: str) -> Iterator[Interrupt]:
    listener = Interrupt()
    numba.core.event.register(kind, listener)
    yield listener
    numba.core.event.unregister(kind, listener)


@pytest.mark.parametrize("kind", ["numba:compile", "numba:run_pass", "numba:llvm_lock"])
def test_ctrl_c_waits_until_numba_is_done(kind: str) -> None:
    @njit(cache=False)
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    handler = signal.getsignal(signal.SIGINT)
    with pressed_at(kind) as press:
        with pytest.raises(KeyboardInterrupt):
            twice(21)
        assert press.done
    # What was begun was brought to its end, and nothing is left of the waiting.
    assert len(twice.signatures) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    assert twice(21) == 42
