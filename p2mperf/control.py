"""What a design is called where it is timed once more, against itself: by who measures and in results."""

from __future__ import annotations

# A design of this prefix is the design after it: an A/A control, which shows the noise of a cell.
CONTROL = "control:"
