"""HAP: one p2m with superpages, which hardware walks, found by Xen in software or through virtual windows."""
