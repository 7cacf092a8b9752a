/*
 * The fault loop of the ARM designs once more, in C: find the entry the design's way, flip write and log-dirty
 * bits, mark the bitmap. Loads and stores of table words are relaxed and atomic, as in twins.c. A frame of the
 * stream always has an entry, which numba's loop relies on as well.
 */
#include <stdint.h>

#define always_inline static inline __attribute__((always_inline))
#define ADDRESS 0xfffffff000ULL
#define BLOCK 0xffffe00000ULL
#define HELD (1ULL << 55)
#define LOG_DIRTY (1ULL << 55)
#define WRITE (1ULL << 7)
#define SLOT_FLAGS 0x701ULL

struct vlpt {
    uint64_t window, first, n_frames;
};
struct direct {
    uint64_t root, base, max_frame;
};
struct walk {
    uint64_t root, slots, base, max_frame;
};

always_inline uint64_t load(uint64_t address)
{
    return __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
}

always_inline void store(uint64_t address, uint64_t value)
{
    __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELAXED);
}

always_inline uint64_t locate_vlpt(struct vlpt t, uint64_t gfn)
{
    return gfn - t.first < t.n_frames ? t.window + (gfn << 3) : 0;
}

always_inline uint64_t locate_direct(struct direct t, uint64_t gfn)
{
    if (gfn >= t.max_frame)
        return 0;
    uint64_t entry = load(t.base + t.root + ((gfn >> 18) << 3));
    if ((entry & 3) != 3)
        return 0;
    entry = load((entry & ADDRESS) + t.base + ((gfn >> 9 & 511) << 3));
    if ((entry & 3) != 3)
        return 0;
    return (entry & ADDRESS) + t.base + ((gfn & 511) << 3);
}

/* map_domain_page: returns where the page is read, and in *slot where its slot stands */
always_inline uint64_t map(struct walk t, uint64_t machine, uint64_t *slot)
{
    uint64_t key = machine & BLOCK, index = machine >> 21;
    for (int i = 0; i < 1024; i++, index++) {
        uint64_t address = t.slots + ((index & 1023) << 3), entry = load(address);
        uint64_t count = entry >> 55 & 15;
        if (count < 15 && (entry & BLOCK) == key && entry & 1)
            entry += HELD;
        else if (count == 0)
            entry = key | SLOT_FLAGS | HELD;
        else
            continue;
        store(address, entry);
        *slot = address;
        return (entry & BLOCK) + (machine & 0x1ff000) + t.base;
    }
    *slot = 0;
    return 0;
}

always_inline void unmap(uint64_t slot)
{
    store(slot, load(slot) - HELD);
}

always_inline uint64_t locate_walk(struct walk t, uint64_t gfn)
{
    uint64_t slot1, slot2, slot3, found = 0;
    if (gfn >= t.max_frame)
        return 0;
    uint64_t page = map(t, t.root + (gfn >> 27 << 12), &slot1);
    uint64_t entry = load(page + ((gfn >> 18 & 511) << 3));
    if ((entry & 3) == 3) {
        page = map(t, entry & ADDRESS, &slot2);
        entry = load(page + ((gfn >> 9 & 511) << 3));
        if ((entry & 3) == 3) {
            page = map(t, entry & ADDRESS, &slot3);
            found = page + ((gfn & 511) << 3);
            unmap(slot3);
        }
        unmap(slot2);
    }
    unmap(slot1);
    return found;
}

#define FAULT(kind)                                                                                       \
    uint64_t fault_##kind(const struct kind *tables, const uint64_t *stream, uint64_t n, uint64_t first,  \
                          uint64_t *dirty)                                                                \
    {                                                                                                     \
        const struct kind t = *tables;                                                                    \
        uint64_t n_faults = 0;                                                                            \
        for (uint64_t i = 0; i < n; i++) {                                                                \
            uint64_t gfn = stream[i], address = locate_##kind(t, gfn), entry = load(address);             \
            if (entry & LOG_DIRTY) {                                                                      \
                store(address, entry ^ (LOG_DIRTY | WRITE));                                              \
                uint64_t bit = gfn - first;                                                               \
                dirty[bit >> 6] |= 1ULL << (bit & 63);                                                    \
                n_faults++;                                                                               \
            }                                                                                             \
        }                                                                                                 \
        return n_faults;                                                                                  \
    }

FAULT(vlpt)
FAULT(direct)
FAULT(walk)
