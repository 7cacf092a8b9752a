"""Claims of the source documents: the words, and how each is decided from code and data."""
