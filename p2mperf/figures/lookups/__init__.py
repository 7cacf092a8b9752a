"""Figures of lookups: cost, ratio and footprint."""
