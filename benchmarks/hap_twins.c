/*
 * set_ranges of p2mperf/designs/hap/change_kernels.py once more, in C: the same steps over the same tables, as far
 * as leaves stand where they are to be written. And what showing tables in a window takes of the system, and nothing
 * else: the same calls as p2mperf makes while it splits superpages, one page each.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>

#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define always_inline static inline __attribute__((always_inline))

enum { PAGE_SHIFT = 12 };
enum { PRESENT = 1, SUPERPAGE = 1 << 7, LEAF = PRESENT | SUPERPAGE };
#define ADDRESS ((1ULL << 52) - (1ULL << PAGE_SHIFT))

/* `root` to `is_wide` of Store, and what of its `counts` a write changes */
struct store { uint64_t root, base, bits, top, largest, is_wide; };
struct counts { uint64_t n_present, max_mapped, n_writes, n_flushes; };

always_inline uint64_t load(const struct store *s, uint64_t table, uint64_t index)
{
    return s->is_wide ? __atomic_load_n((const uint64_t *)table + index, __ATOMIC_RELAXED)
                      : __atomic_load_n((const uint32_t *)table + index, __ATOMIC_RELAXED);
}

always_inline void store(const struct store *s, uint64_t table, uint64_t index, uint64_t word)
{
    if (s->is_wide)
        __atomic_store_n((uint64_t *)table + index, word, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint32_t *)table + index, word, __ATOMIC_RELAXED);
}

always_inline uint64_t index_of(const struct store *s, uint64_t frame, uint64_t level)
{
    return frame >> s->bits * level & ((1ULL << s->bits) - 1);
}

always_inline uint64_t level_of_piece(const struct store *s, uint64_t sizes, uint64_t frame, uint64_t mfn,
                                      uint64_t left)
{
    uint64_t placed = frame | mfn | left, level = s->largest;

    while (!(sizes >> level & 1) || placed & ((1ULL << s->bits * level) - 1))
        level--;
    return level;
}

/* 0 where there is none */
always_inline uint64_t find_table(const struct store *s, uint64_t frame, uint64_t level)
{
    uint64_t table = s->root;

    for (uint64_t at = s->top; at != level; at--) {
        uint64_t slot = load(s, table, index_of(s, frame, at));
        if (unlikely((slot & LEAF) != PRESENT))
            return 0;
        table = (slot & ADDRESS) + s->base;
    }
    return table;
}

always_inline int replace(const struct store *s, struct counts *counts, uint64_t level, uint64_t frame,
                          uint64_t mfn, uint64_t flags)
{
    uint64_t table = find_table(s, frame, level), index, word, old, n_frames = 1ULL << s->bits * level;

    if (unlikely(!table))
        return 0;
    index = index_of(s, frame, level);
    word = flags ? mfn << PAGE_SHIFT | flags | (level ? SUPERPAGE : 0) : 0;
    old = load(s, table, index);
    if (unlikely(level && ((old & LEAF) != LEAF || !word)))
        return 0;
    store(s, table, index, word);
    counts->n_writes++;
    counts->n_flushes += old & PRESENT;
    counts->n_present += (word & PRESENT ? n_frames : 0) - (old & PRESENT ? n_frames : 0);
    if (word & PRESENT) {
        uint64_t last = frame + n_frames - 1;
        counts->max_mapped = last > counts->max_mapped ? last : counts->max_mapped;
    }
    return 1;
}

always_inline int set_in_place(const struct store *s, struct counts *counts, uint64_t sizes, uint64_t frame,
                               uint64_t mfn, uint64_t n_frames, uint64_t flags)
{
    if (n_frames == 1)
        return replace(s, counts, 0, frame, mfn, flags);
    uint64_t level = level_of_piece(s, sizes, frame, mfn, n_frames);
    return n_frames == 1ULL << s->bits * level && replace(s, counts, level, frame, mfn, flags);
}

int64_t set_ranges(const struct store *tables, struct counts *counts, uint64_t sizes, const uint64_t *frames,
                   const uint64_t *mfns, const uint64_t *orders, uint64_t flags, int64_t n, uint8_t *done)
{
    const struct store s = *tables;
    int64_t i;

    for (i = 0; i < n; i++) {
        done[i] = set_in_place(&s, counts, sizes, frames[i], mfns[i], 1ULL << orders[i], flags);
        if (unlikely(!done[i]))
            break;
    }
    return i;
}

uint64_t show(uint64_t window, const uint64_t *pages, uint64_t n, int fd, uint64_t first_frame)
{
    uint64_t refused = 0;

    for (uint64_t i = 0; i < n; i++) {
        void *address = (void *)(window + (pages[i] << PAGE_SHIFT));
        off_t offset = (off_t)((first_frame + i) << PAGE_SHIFT);
        refused += mmap(address, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset) != address;
        madvise(address, 4096, MADV_NOHUGEPAGE);
    }
    return refused;
}
