"""The report: one folder that opens from a file, with all that results say, and how they came about."""
