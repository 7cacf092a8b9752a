"""Runs code in a process of its own, as ``python -c`` does, without waiting for imports each time.

One server a pytest process has imported p2mperf, and forks for each piece of code. The child ends as any
interpreter does, all that is torn down then included; a crash is its own, and told by its status.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from typing import Any

_STATUS_OF_TIMEOUT = -signal.SIGALRM


def run_forked(code: str, *arguments: str, timeout_s: int = 120) -> subprocess.CompletedProcess[str]:
    """Run code, its `sys.argv` what is given; status, output and complaints as of `subprocess.run`."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as complaints:
        request = {"code": code, "arguments": arguments, "timeout_s": timeout_s}
        places = {"output": output.name, "complaints": complaints.name}
        server.stdin.write(json.dumps({**request, **places}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        told = [file.read().decode() for file in (output, complaints)]
    assert status != _STATUS_OF_TIMEOUT, f"no end after {timeout_s} s: {told[1][-2000:]}"
    return subprocess.CompletedProcess([code, *arguments], status, *told)


@cache
def _server() -> subprocess.Popen[str]:
    """Started by the first who asks; it ends when its input does, with this process."""
    server = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def _next_in_child() -> dict[str, Any] | None:
    """In a child what it is to run; in the server, at its end, None."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if not pid:
            return request
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    return None


def main() -> None:
    """Serve, and in each child become the program that was asked for."""
    # What every such program imports. Nothing is compiled or built here, for no child is to find it.
    import p2mperf.building
    import p2mperf.designs.arm.vlpt
    import p2mperf.designs.hap.linear
    import p2mperf.designs.hap.walk
    import p2mperf.designs.pv.linear_nested
    import p2mperf.designs.pv.scenarios
    import p2mperf.migration.tracing  # noqa: F401

    request = _next_in_child()
    if request is None:
        return
    signal.alarm(request["timeout_s"])
    for number, name in ((1, "output"), (2, "complaints")):
        opened = os.open(request[name], os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    sys.argv = ["-c", *request["arguments"]]
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(request["code"], "<forked>", "exec"), names)


if __name__ == "__main__":
    main()
