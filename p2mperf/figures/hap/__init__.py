"""Figures of HAP: superpages and what they save."""
