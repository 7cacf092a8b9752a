"""``python -m benchmarks.worker MODULE ARGUMENTS``: the inside of `benchmarks.processes.in_fresh_process`."""

from __future__ import annotations

import json
import sys
from importlib import import_module

if __name__ == "__main__":
    answer = import_module(f"benchmarks.{sys.argv[1]}").work(**json.loads(sys.argv[2]))
    print(json.dumps(answer))
