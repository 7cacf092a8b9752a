"""How large the linear list may be, and what limits it."""
