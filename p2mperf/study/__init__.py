"""From a plan to results: which cells there are, one process a unit, and resuming."""
