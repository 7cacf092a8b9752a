"""What this machine is and what it has left: read once, at ground level, for all above."""
