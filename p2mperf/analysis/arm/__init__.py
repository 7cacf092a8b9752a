"""ARM: the full walk and the virtual-linear page table, in time and counted."""
