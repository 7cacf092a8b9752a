"""A process that has imported all a unit needs, and forks one unit after another.

Importing takes a fresh interpreter longer than many a unit takes to build its tables. So a sweep starts one
such process a replicate: its units share where libraries and compiled code lie, and no unit shares that with
another replicate of itself, so that the processes that an interval covers are as unlike as before. Tables,
streams and their pages are each unit's own.

``python -m p2mperf.study.fork_server --end-with=PID`` has a Unix socket of packets in place of stdin. It says
`READY`, then takes stdin, stdout and stderr of one unit at a time, as descriptors, and answers with its exit
code.
"""

from __future__ import annotations

import gc
import os
import socket
import sys

from p2mperf.guests.guest import Guest
from p2mperf.streams import STREAMS, make_stream
from p2mperf.study import unit
from p2mperf.study.order import END_WITH, READY

_N_STANDARD = 3  # stdin, stdout, stderr


def main(argv: list[str]) -> int:
    """Fork units until the other end of the socket is closed; in each of them, do what it is told."""
    if not unit.is_tied(argv):
        return 1
    with socket.socket(fileno=os.dup(0)) as asked:
        # Loops of streams are the same for all units, where those of designs are not; and whatever is
        # loaded first has numba import half of itself, and scipy.
        for name in STREAMS:
            make_stream(name, Guest.preset("dom0-64-e820"), 1, hole_fraction=0.5)
        # What there is now is never looked at by a collection of a unit, which would copy its pages.
        gc.freeze()
        asked.sendall(READY)
        while True:
            told, descriptors, _, _ = socket.recv_fds(asked, 1, _N_STANDARD)
            if not told:
                return 0
            here = os.getpid()
            number = os.fork()
            if not number:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            _, status = os.waitpid(number, 0)
            asked.sendall(b"%d" % os.waitstatus_to_exitcode(status))
    for stream, descriptor in enumerate(descriptors):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    code = unit.main([f"{END_WITH}{here}"])
    os._exit(code)  # what it has of its server need not be taken apart


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
