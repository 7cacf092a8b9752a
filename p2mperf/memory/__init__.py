"""The substrate: page frames in a memfd, mapped as often and in whatever order a design needs."""
