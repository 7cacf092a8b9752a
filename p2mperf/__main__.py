"""``python -m p2mperf``."""

import sys

if __name__ == "__main__":
    try:
        from p2mperf.cli import entry
    except KeyboardInterrupt:  # before there is anybody to say so
        sys.exit(130)
    entry()
