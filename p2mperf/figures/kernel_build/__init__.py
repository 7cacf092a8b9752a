"""Figures of a kernel build: where its translations go, how near they are, and what they cost."""
