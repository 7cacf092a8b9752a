"""Live migration over the ARM designs: dirty-page tracing, writers, precopy rounds, and computed costs."""
