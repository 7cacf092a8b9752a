"""What a run leaves behind: the schema, the crash-safe journal, its exports and their comparison."""
