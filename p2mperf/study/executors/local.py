"""Units run here, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from p2mperf.errors import P2mperfError, cut
from p2mperf.host.card import card_key, machine_card
from p2mperf.host.lock import alone_on_this_machine
from p2mperf.host.maps import n_maps_available
from p2mperf.host.memory import available_memory_bytes
from p2mperf.host.watch import running_beside
from p2mperf.memory.reserve import Reserve
from p2mperf.provenance import SHOWING, source_hash, surroundings_hash
from p2mperf.results.fields import Record
from p2mperf.study.executors.base import Capacity, Knees, Place
from p2mperf.study.executors.processes import ForkServer, Process, start_interpreter
from p2mperf.study.order import Order

_PART_BYTES, _N_PARTS = 1 << 16, 16  # of what a child says on stderr the end is kept


class LocalExecutor:
    """The machine we are on; see `p2mperf.study.executors.base.Executor`."""

    def __init__(self) -> None:
        self._reserve = Reserve()
        self._server: ForkServer | None = None
        self._n_running: float | None = None

    def place(self) -> Place:
        """Describe this machine and this code."""
        card = machine_card()
        if self._server is None:  # before units of ours run, and once
            if self._n_running is None:
                self._n_running = running_beside(card)
            card["n_running"] = self._n_running
        code = f"{source_hash(SHOWING)}-{surroundings_hash()}"
        return Place(socket.gethostname() or "unnamed", card, card_key(card), code)

    def capacity(self) -> Capacity:
        """Ask the budgets that the unit itself will ask; a fresh process has no mappings yet."""
        return Capacity(available_memory_bytes() + self._reserve.n_bytes, n_maps_available(n_used=0))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this machine, whatever directory a sweep writes to."""
        with alone_on_this_machine():
            try:
                yield
            finally:
                self._reserve.close()
                self._end_server()

    def run(self, order: Order) -> Generator[Record, None, None]:
        """Run one unit in a process of its own, for which room is made."""
        yield from self.do({"task": "unit", **order.to_json()}, order.unit.seed, order.need_bytes)

    def do(self, task: Record, seed: int, need_bytes: int) -> Generator[Record, None, None]:
        """Do one task in a process of its own, for which room is made.

        Parameters
        ----------
        task : dict
            For `p2mperf.study.unit`.
        seed : int
            Tasks of one seed share where libraries and compiled code lie.
        need_bytes : int
            Memory that the process takes at most [bytes].

        Yields
        ------
        dict
            Its records, each as soon as it is there.

        Raises
        ------
        P2mperfError
            When it says that it failed, or its process died.
        """

        def make_room() -> None:
            self._reserve.make_room(need_bytes)

        start = self._server_of(seed).start
        for record in child(task, start, make_room):
            if record["record"] == "error":
                raise P2mperfError(record["error"])
            yield record

    def _server_of(self, seed: int) -> ForkServer:
        """What starts the units of one seed: each replicate has its own."""
        if self._server is None or self._server.seed != seed or self._server.has_ended:
            self._end_server()
            self._server = ForkServer(seed)
        return self._server

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.end()
        self._server = None

    def knees(self) -> Knees:
        """Measure the latency ladder in a fresh process."""
        try:
            found = next(child({"task": "ladder"}), {"error": "its process ended early"})
        except P2mperfError as error:
            found = {"error": str(error)}
        if "error" in found:
            raise P2mperfError(f"the latency ladder of this machine could not be measured: {found['error']}")
        return Knees.from_json(found)


def child(
    task: Record,
    start: Callable[[], Process] = start_interpreter,
    meanwhile: Callable[[], None] = lambda: None,
) -> Generator[Record, None, None]:
    """Run one task in a process of its own and yield the records it writes.

    Parameters
    ----------
    task : dict
        For `p2mperf.study.unit`.
    start : callable
        Starts such a process; by default a fresh interpreter.
    meanwhile : callable
        What is done here before the process is told its task.

    Yields
    ------
    dict
        Records in the order written; a torn last line of a child that died is passed over.
    """
    process = start()
    said: deque[bytes] = deque(maxlen=_N_PARTS)  # nobody's but ours
    try:
        meanwhile()
        # A child that dies before it has read its task is found dead below.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(task).encode())
        answered = False
        for line in _lines(process, said):
            answered = True
            yield json.loads(line)
        code = process.wait()
        if code < 0:
            raise P2mperfError(f"the unit's process was killed by signal {-code}{_last_words(process, said)}")
        if not answered and (words := _last_words(process, said)):
            raise P2mperfError(f"the unit's process ended early{words}")
    finally:
        process.end()


def _lines(process: Process, said: deque[bytes]) -> Iterator[bytes]:
    """Whole lines of a child's stdout, each as soon as it is there; what it says on stderr goes to `said`."""
    os.set_blocking(process.stderr.fileno(), False)
    with selectors.DefaultSelector() as streams:
        streams.register(process.stdout, selectors.EVENT_READ)
        streams.register(process.stderr, selectors.EVENT_READ)
        torn = b""
        while True:
            for ready, _ in streams.select():
                part = os.read(ready.fd, _PART_BYTES)
                if ready.fileobj is process.stdout:
                    if not part:  # who else has its stderr may live on
                        return
                    *whole, torn = (torn + part).split(b"\n")
                    yield from whole
                elif part:
                    said.append(part)
                else:
                    streams.unregister(process.stderr)


def _last_words(process: Process, said: deque[bytes]) -> str:
    """The last line of what a dead child said on stderr, as the end of a sentence."""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(process.stderr.fileno(), _PART_BYTES):
            said.append(part)
    lines = b"".join(said).decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f" ({cut(last, 200)})" if last else ""
