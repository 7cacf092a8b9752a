"""Stage-2 tables of ARM guests: the full walk and the virtual-linear page table."""
