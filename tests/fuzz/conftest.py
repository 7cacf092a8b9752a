"""The fuzzers are programs, started by tests/test_fuzz.py: nothing here is collected."""

collect_ignore_glob = ["*.py"]
