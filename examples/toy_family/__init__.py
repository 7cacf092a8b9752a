"""What another package can add to p2mperf, a file each; docs/extending.md goes through them."""
