/*
 * set_entries of p2mperf/tables/write_kernels.py once more, in C: the same rules over the same tables. Loads and stores are relaxed and atomic, as READ_ONCE and WRITE_ONCE are in numba's loop.
 */
#include <stdint.h>

#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define always_inline static inline __attribute__((always_inline))

enum { MISSING, IDENTITY };
struct words { uint64_t invalid, identity, foreign, leaf_shift, end, n_machine; };
struct tree { uint64_t top, missing_leaf, identity_leaf, base; };
struct list { uint64_t list, area, root, missing_leaf, identity_leaf, base; };

always_inline uint64_t load(uint64_t address, uint64_t index, int bits)
{
    return bits == 64 ? __atomic_load_n((const uint64_t *)address + index, __ATOMIC_RELAXED)
                      : __atomic_load_n((const uint32_t *)address + index, __ATOMIC_RELAXED);
}

always_inline void store(uint64_t address, uint64_t index, uint64_t entry, int bits)
{
    if (bits == 64)
        __atomic_store_n((uint64_t *)address + index, entry, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint32_t *)address + index, entry, __ATOMIC_RELAXED);
}

always_inline uint64_t locate_tree(const struct tree *t, uint64_t pfn, int bits)
{
    int index = bits == 64 ? 9 : 10;
    uint64_t base = bits == 64 ? 0 : t->base;
    uint64_t mid = load(t->top, pfn >> 2 * index, bits) + base;
    uint64_t leaf = load(mid, pfn >> index & ((1 << index) - 1), bits);

    if (unlikely(leaf == t->missing_leaf))
        return MISSING;
    return unlikely(leaf == t->identity_leaf) ? IDENTITY : leaf + base;
}

always_inline uint64_t locate_list(const struct list *t, uint64_t pfn, int bits)
{
    int size = bits == 64 ? 3 : 2;
    uint64_t shown = t->list + (pfn << size), address = t->area + (pfn << size), page = t->root;

    if (load(t->list, pfn, bits) != (bits == 64 ? UINT64_MAX : UINT32_MAX))
        return shown & ~0xfffULL;
    for (int level = size; level >= 0; level--) {
        page = load(page, address >> (12 + 9 * level) & 511, 64) & ~0xfffULL;
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
        if ((entry & ~(w->identity | w->foreign)) != old && is_plain(w, old) && old < n_m2p && m2p[old] == pfn)\
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
        const uint64_t mask = bits == 64 ? 511 : 1023, markers = 3ULL << (bits - 2);                          \
        int64_t i = 0;                                                                                        \
                                                                                                              \
        while (i < n) {                                                                                       \
            uint64_t pfn = pfns[i], entry = entries[i], first = pfn & ~mask, index = pfn - first, leaf;       \
            if (unlikely(pfn >= w.end)) {                                                                     \
                done[i++] = entry == w.invalid && !only_holes;                                                \
                continue;                                                                                     \
            }                                                                                                 \
            leaf = locate_##kind(&t, pfn, bits);                                                              \
            if (unlikely(leaf <= IDENTITY)) {                                                                 \
                int as_it_is = entry == (leaf == MISSING ? w.invalid : (w.identity | pfn));                   \
                if (!as_it_is && !(only_holes && leaf == IDENTITY))                                           \
                    break;                                                                                    \
                done[i++] = as_it_is && (!only_holes || leaf == MISSING);                                     \
                continue;                                                                                     \
            }                                                                                                 \
            if (!only_holes && !n_m2p) {                                                                      \
                do {                                                                                          \
                    if (unlikely((load(leaf, index, bits) | entries[i]) & markers))                           \
                        goto noting;                                                                          \
                    store(leaf, index, entries[i], bits);                                                     \
                    if (++i == n)                                                                             \
                        return n;                                                                             \
                    index = pfns[i] - first;                                                                  \
                } while (index <= mask);                                                                      \
                continue;                                                                                     \
            }                                                                                                 \
        noting:                                                                                               \
            for (; i < n && (index = pfns[i] - first) <= mask; i++) {                                         \
                uint64_t old = load(leaf, index, bits);                                                       \
                done[i] = !only_holes || old == w.invalid;                                                    \
                if (!done[i])                                                                                 \
                    continue;                                                                                 \
                store(leaf, index, entries[i], bits);                                                         \
                note_##bits(words, m2p, n_m2p, changes, pfns[i], old, entries[i]);                            \
            }                                                                                                 \
        }                                                                                                     \
        return i;                                                                                             \
    }

SET_ENTRIES(tree, 64)
SET_ENTRIES(tree, 32)
SET_ENTRIES(list, 64)
SET_ENTRIES(list, 32)
