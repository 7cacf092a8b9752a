"""What is timed: lookups, and what happens to a p2m over its life."""
