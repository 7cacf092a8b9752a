"""Speed and memory p2mperf must reach: each criterion measured against a yardstick in the same run."""
