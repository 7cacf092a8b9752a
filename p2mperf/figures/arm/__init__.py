"""Figures of the ARM family."""
