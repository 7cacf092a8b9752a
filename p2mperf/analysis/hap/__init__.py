"""HAP: superpages, what they save, and whether virtual windows pay."""
