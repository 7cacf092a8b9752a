"""Figures of sizing limits."""
