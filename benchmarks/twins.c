/*
 * The timed loops once more, in C, to hold numba's against: the same walks over the same tables. A load is
 * relaxed and atomic, LLVM's READ_ONCE in numba's loops; with `volatile` gcc 12 takes one instruction more
 * for each address, so this is the stronger twin. The list's slow path is out of line and unlikely, as
 * arch/x86/include/asm/xen/page.h has it. `tables` is the NamedTuple of the design, as consecutive words.
 */
#include <stdint.h>

#define always_inline static inline __attribute__((always_inline))
#define unlikely(condition) __builtin_expect(!!(condition), 0)

enum { PAGE_SHIFT = 12, LEVEL_BITS = 9, PTES = 1 << LEVEL_BITS };
#define PAGE_MASK (~(uint64_t)0xfff)

struct list {
    const void *list;
    uint64_t size, above, area;
    const uint64_t *root;
    uint64_t identity_leaf, base, m2p;
};
struct tree {
    const void *top;
    uint64_t identity_leaf, max_pfn, above, base;
};

/* bits: of an entry, 64 or 32; a constant wherever these are inlined */
always_inline uint64_t load(const void *page, uint64_t index, int bits)
{
    return bits == 64 ? __atomic_load_n((const uint64_t *)page + index, __ATOMIC_RELAXED)
                      : __atomic_load_n((const uint32_t *)page + index, __ATOMIC_RELAXED);
}

always_inline uint64_t identity(uint64_t pfn, int bits)
{
    return pfn | 1ULL << (bits - 2);
}

always_inline uint64_t lookup_address(const struct list *t, uint64_t pfn, int bits)
{
    int n_upper = bits == 64 ? 3 : 2; /* levels above the PTEs: long mode, PAE */
    uint64_t address = t->area + pfn * (bits / 8), page = 0;
    const uint64_t *table = t->root;

    for (int level = n_upper; level >= 0; level--) {
        uint64_t slot = address >> (PAGE_SHIFT + LEVEL_BITS * level) & (PTES - 1);
        page = (load(table, slot, 64) & PAGE_MASK) + t->base;
        table = (const uint64_t *)page;
    }
    return page == t->identity_leaf ? identity(pfn, bits) : load(t->list, pfn, bits);
}

static __attribute__((noinline)) uint64_t slow_64(const struct list *t, uint64_t pfn)
{
    return lookup_address(t, pfn, 64);
}

static __attribute__((noinline)) uint64_t slow_32(const struct list *t, uint64_t pfn)
{
    return lookup_address(t, pfn, 32);
}

/* `t` is the loop's own copy, which can stay in registers over the call that gets the original */
always_inline uint64_t walk_list(struct list t, const struct list *original, uint64_t pfn, int bits)
{
    if (pfn >= t.size)
        return pfn | t.above;
    uint64_t entry = load(t.list, pfn, bits);
    if (unlikely(entry == (bits == 64 ? UINT64_MAX : UINT32_MAX)))
        return bits == 64 ? slow_64(original, pfn) : slow_32(original, pfn);
    return entry;
}

always_inline uint64_t walk_tree(struct tree t, const struct tree *original, uint64_t pfn, int bits)
{
    int index_bits = bits == 64 ? 9 : 10;
    uint64_t mask = (1 << index_bits) - 1, base = bits == 64 ? 0 : t.base;

    (void)original;
    if (pfn >= t.max_pfn)
        return pfn | t.above;
    const void *mid = (const void *)(load(t.top, pfn >> (2 * index_bits), bits) + base);
    uint64_t leaf = load(mid, pfn >> index_bits & mask, bits);
    if (leaf == t.identity_leaf)
        return identity(pfn, bits);
    return load((const void *)(leaf + base), pfn & mask, bits);
}

#define LOOPS(kind, bits)                                                                                 \
    uint64_t kind##_latency_##bits(const struct kind *tables, const uint64_t *stream, uint64_t n,         \
                                   uint64_t zero)                                                         \
    {                                                                                                     \
        const struct kind t = *tables;                                                                    \
        uint64_t total = 0, entry = 0;                                                                    \
        for (uint64_t i = 0; i < n; i++) {                                                                \
            entry = walk_##kind(t, tables, stream[i] + (entry & zero), bits);                             \
            total += entry;                                                                               \
        }                                                                                                 \
        return total;                                                                                     \
    }                                                                                                     \
    uint64_t kind##_throughput_##bits(const struct kind *tables, const uint64_t *stream, uint64_t n,      \
                                      uint64_t zero)                                                      \
    {                                                                                                     \
        const struct kind t = *tables;                                                                    \
        uint64_t total = 0;                                                                               \
        _Pragma("GCC unroll 4") /* as numba's loop is written */                                          \
        for (uint64_t i = 0; i < n; i++)                                                                  \
            total += walk_##kind(t, tables, stream[i], bits);                                             \
        return total + zero;                                                                              \
    }

LOOPS(list, 64)
LOOPS(list, 32)
LOOPS(tree, 64)
LOOPS(tree, 32)
