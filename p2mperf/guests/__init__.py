"""Guests: memory maps as runs, geometries, machines and presets."""
