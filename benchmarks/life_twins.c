/*
 * set_entries of p2mperf/tables/write_kernels.py once more, in C: the same rules over the same tables. Loads and stores are relaxed and atomic, as READ_ONCE and WRITE_ONCE are in numba's loop.
 */
#include <stdint.h>

#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define always_inline static inline __attribute__((always_inline))

enum { MISSING, IDENTITY };
struct words { uint64_t invalid, identity, foreign, size_shift, leaf_shift, end, n_machine; };
struct tree { uint64_t top, missing_leaf, identity_leaf, base; };
struct list { uint64_t list, area, root, missing_leaf, identity_leaf, base; };

always_inline uint64_t load(uint64_t address, int bits)
{
    return bits == 64 ? __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED)
                      : __atomic_load_n((const uint32_t *)address, __ATOMIC_RELAXED);
}

always_inline void store(uint64_t address, uint64_t entry, int bits)
{
    if (bits == 64)
        __atomic_store_n((uint64_t *)address, entry, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint32_t *)address, entry, __ATOMIC_RELAXED);
}

always_inline uint64_t locate_tree(const struct tree *t, uint64_t pfn, int bits)
{
    int index = bits == 64 ? 9 : 10, size = bits == 64 ? 3 : 2;
    uint64_t mid = load(t->top + (pfn >> 2 * index << size), bits) + t->base;
    uint64_t leaf = load(mid + ((pfn >> index & ((1 << index) - 1)) << size), bits);

    if (leaf == t->missing_leaf)
        return MISSING;
    return leaf == t->identity_leaf ? IDENTITY : leaf + t->base;
}

always_inline uint64_t locate_list(const struct list *t, uint64_t pfn, int bits)
{
    int size = bits == 64 ? 3 : 2;
    uint64_t shown = t->list + (pfn << size), address = t->area + (pfn << size), page = t->root;

    if (load(shown, bits) != (bits == 64 ? UINT64_MAX : UINT32_MAX))
        return shown & ~0xfffULL;
    for (int level = size; level >= 0; level--) {
        page = load(page + ((address >> (12 + 9 * level) & 511) << 3), 64) & ~0xfffULL;
        page += level ? t->base : 0;
    }
    if (page == t->missing_leaf)
        return MISSING;
    return page == t->identity_leaf ? IDENTITY : shown & ~0xfffULL;
}

always_inline int is_plain(const struct words *w, uint64_t entry)
{
    return !(entry & (w->identity | w->foreign));
}

always_inline int is_foreign(const struct words *w, uint64_t entry)
{
    return entry & w->foreign && entry != w->invalid;
}

always_inline int is_astray(const struct words *w, uint64_t pfn, uint64_t entry)
{
    return (entry & (w->identity | w->foreign)) == w->identity && entry != (w->identity | pfn);
}

#define NOTE(bits)                                                                                            \
    static __attribute__((noinline)) void note_##bits(const struct words *w, void *table, uint64_t n_m2p,     \
                                                      int64_t *changes, uint64_t pfn, uint64_t old,           \
                                                      uint64_t entry)                                         \
    {                                                                                                         \
        uint##bits##_t *m2p = table;                                                                          \
        changes[0] += is_plain(w, entry) - is_plain(w, old);                                                  \
        changes[1] += is_foreign(w, entry) - is_foreign(w, old);                                              \
        changes[2] += is_astray(w, pfn, entry) - is_astray(w, pfn, old);                                      \
        if (!n_m2p)                                                                                           \
            return;                                                                                           \
        if ((entry & ~(w->identity | w->foreign)) != old && is_plain(w, old) && old < n_m2p && m2p[old] == pfn) \
            m2p[old] = w->invalid;                                                                            \
        if (is_plain(w, entry) && entry < n_m2p)                                                              \
            m2p[entry] = pfn;                                                                                 \
    }

NOTE(64)
NOTE(32)

#define SET_ENTRIES(kind, bits)                                                                               \
    int64_t set_##kind##_##bits(const struct kind *tables, const struct words *words, const uint64_t *pfns,   \
                                const uint64_t *entries, int64_t only_holes, int64_t n, uint8_t *done,        \
                                void *m2p, int64_t n_m2p, int64_t *changes)                                   \
    {                                                                                                         \
        struct kind t = *tables;                                                                              \
        struct words w = *words;                                                                              \
        uint64_t known = UINT64_MAX, leaf = 0, mask = (1ULL << w.leaf_shift) - 1;                             \
        int64_t i;                                                                                            \
                                                                                                              \
        for (i = 0; i < n; i++) {                                                                             \
            uint64_t pfn = pfns[i], entry = entries[i];                                                       \
            if (pfn >= w.end) {                                                                               \
                done[i] = entry == w.invalid && !only_holes;                                                  \
                continue;                                                                                     \
            }                                                                                                 \
            if (pfn >> w.leaf_shift != known) {                                                               \
                leaf = locate_##kind(&t, pfn, bits);                                                          \
                known = leaf > IDENTITY ? pfn >> w.leaf_shift : UINT64_MAX;                                   \
            }                                                                                                 \
            if (known == UINT64_MAX) {                                                                        \
                int as_it_is = entry == (leaf == MISSING ? w.invalid : (w.identity | pfn));                   \
                if (!as_it_is && !(only_holes && leaf == IDENTITY))                                           \
                    break;                                                                                    \
                done[i] = as_it_is && (!only_holes || leaf == MISSING);                                       \
                continue;                                                                                     \
            }                                                                                                 \
            uint64_t address = leaf + ((pfn & mask) << w.size_shift), old = load(address, bits);              \
            int writes = !only_holes || old == w.invalid;                                                     \
            done[i] = writes;                                                                                 \
            if (!writes)                                                                                      \
                continue;                                                                                     \
            store(address, entry, bits);                                                                      \
            if (unlikely((old | entry) & (w.identity | w.foreign) || n_m2p))                                  \
                note_##bits(words, m2p, n_m2p, changes, pfn, old, entry);                                     \
        }                                                                                                     \
        return i;                                                                                             \
    }

SET_ENTRIES(tree, 64)
SET_ENTRIES(tree, 32)
SET_ENTRIES(list, 64)
SET_ENTRIES(list, 32)
