"""A kernel build: what its entries cost when they are replayed, and the seconds that they come to."""
