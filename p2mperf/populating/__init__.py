"""How a HAP guest of Xen gets its memory: the host's allocator, who asks it, and what is left later."""
