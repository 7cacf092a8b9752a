"""What samples say: statistics, summaries and comparisons that report, figures and notebooks share."""
