"""The life of a PV p2m: what is done to it, what that costs, and what tools see of it."""
