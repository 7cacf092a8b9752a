"""``python -m p2mperf``."""

from p2mperf.cli import entry

if __name__ == "__main__":
    entry()
