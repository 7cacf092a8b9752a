"""What every test stands on: a hypothesis profile for the place it runs in, and no display."""

from __future__ import annotations

import os

import hypothesis

# Figures are drawn to files; a child process started by a test inherits this.
os.environ.setdefault("MPLBACKEND", "Agg")
# Nobody reads the numbers of a test's sweeps: they need not wait for a sweep, nor for other tests.
os.environ["P2MPERF_LOCK"] = f"p2mperf.test.{os.getpid()}"

# The first example of a test may compile a walk, so no example has a deadline.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
