"""The p2m of Linux PV guests: the three-level tree and the linear, virtually mapped list."""
