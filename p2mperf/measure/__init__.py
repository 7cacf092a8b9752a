"""How to measure, what the numbers mean, and on which machine they were taken."""
