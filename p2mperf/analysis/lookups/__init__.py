"""Lookups of PV guests: tree or list, in time, in loads and in pages."""
