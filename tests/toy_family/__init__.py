"""A family of another package: its own geometry, two designs, an operation and a figure."""
