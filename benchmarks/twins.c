/*
 * The timed loops once more, in C, to hold numba's against: the same walks over the same tables. A load is
 * relaxed and atomic, LLVM's READ_ONCE in numba's loops; with `volatile` gcc 12 takes one instruction more
 * for each address, so this is the stronger twin. The list's slow path is out of line and unlikely, as
 * arch/x86/include/asm/xen/page.h has it. `tables` is the NamedTuple of the design, as consecutive words.
 */
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

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

struct hap_walk {
    const void *root;
    uint64_t base, max_mapped;
};
struct hap_linear {
    const void *l1, *l2, *l3;
    uint64_t max_mapped;
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

/* HAP: entries of 4 levels, given as they would be on 4 KiB: bit 7 says superpage, bit 12 of one is PAT */
enum { PRESENT = 1, SUPERPAGE = 1 << 7, SUPERPAGE_PAT = 1 << 12 };
#define ADDRESS ((1ULL << 52) - (1ULL << PAGE_SHIFT))

always_inline uint64_t small_entry(uint64_t entry, uint64_t pfn, uint64_t mask)
{
    uint64_t flags = entry & ~(mask << PAGE_SHIFT | SUPERPAGE);
    return (flags + ((pfn & mask) << PAGE_SHIFT)) | (entry & SUPERPAGE_PAT) >> 5;
}

always_inline uint64_t walk_hap_walk(struct hap_walk t, const struct hap_walk *original, uint64_t pfn, int bits)
{
    uint64_t mask = PTES - 1, entry;

    (void)original;
    if (pfn > t.max_mapped)
        return 0;
    entry = load(t.root, pfn >> 27, bits);
    if (!(entry & PRESENT))
        return 0;
    entry = load((const void *)((entry & ADDRESS) + t.base), pfn >> 18 & mask, bits);
    if (!(entry & PRESENT))
        return 0;
    if (entry & SUPERPAGE)
        return small_entry(entry, pfn, (1 << 18) - 1);
    entry = load((const void *)((entry & ADDRESS) + t.base), pfn >> 9 & mask, bits);
    if (!(entry & PRESENT))
        return 0;
    if (entry & SUPERPAGE)
        return small_entry(entry, pfn, mask);
    entry = load((const void *)((entry & ADDRESS) + t.base), pfn & mask, bits);
    return entry & PRESENT ? entry : 0;
}

always_inline uint64_t walk_hap_linear(struct hap_linear t, const struct hap_linear *original, uint64_t pfn,
                                       int bits)
{
    uint64_t leaf = PRESENT | SUPERPAGE, entry;

    (void)original;
    if (pfn > t.max_mapped)
        return 0;
    entry = load(t.l3, pfn >> 18, bits);
    if ((entry & leaf) == leaf)
        return small_entry(entry, pfn, (1 << 18) - 1);
    entry = load(t.l2, pfn >> 9, bits);
    if ((entry & leaf) == leaf)
        return small_entry(entry, pfn, PTES - 1);
    entry = load(t.l1, pfn, bits);
    return entry & PRESENT ? entry : 0;
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
LOOPS(hap_walk, 64)
LOOPS(hap_linear, 64)

/* Entries: what comes before, a stamp, the lookups, a stamp; as p2mperf's `Before` and `Entered` have them. */
struct before {
    const uint64_t *asks;
    uint64_t n_asks, n_frames;
    uint64_t *flushed;
    uint64_t n_flushed_bytes;
    const uint64_t *worked_on;
    uint64_t n_lines, n_touches;
    uint64_t apart; /* words from one page that is written to to the next */
};
struct entered {
    uint64_t total, whole, n_flushes, work;
};

always_inline uint64_t ticks(void)
{
#ifdef __x86_64__
    unsigned int cpu;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint64_t stamp = __builtin_ia32_rdtscp(&cpu);
    __builtin_ia32_lfence();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return stamp;
#else
    struct timespec time;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    clock_gettime(CLOCK_MONOTONIC, &time);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
#endif
}

static void disturb(const struct before *b, struct entered *found, uint64_t *chance, uint64_t mark)
{
    if (b->n_flushed_bytes) {
        int refused = mprotect(b->flushed, b->n_flushed_bytes, PROT_READ);
        refused |= mprotect(b->flushed, b->n_flushed_bytes, PROT_READ | PROT_WRITE);
        found->n_flushes += refused == 0;
        for (uint64_t word = 0; word < b->n_flushed_bytes / 8; word += b->apart)
            b->flushed[word] = mark;
    }
    uint64_t state = *chance;
    for (uint64_t i = 0; i < b->n_touches; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint64_t reach = state & 3 ? b->n_lines >> 3 : b->n_lines;
        found->work += b->worked_on[((state >> 32) * reach >> 32) << 3];
    }
    *chance = state;
}

#define ENTRIES(kind, bits)                                                                               \
    void kind##_entry_##bits(const struct kind *tables, const uint64_t *stream, uint64_t n, uint64_t zero, \
                             const struct before *before, int64_t *took, struct entered *out)             \
    {                                                                                                     \
        const struct kind t = *tables;                                                                    \
        const uint64_t *asks = before->asks, n_asks = before->n_asks;                                     \
        uint64_t chance = 0x9E3779B97F4A7C15, at_hand = 0, total = 0;                                     \
        struct entered found = {0};                                                                       \
        uint64_t first_tick = ticks();                                                                    \
        for (uint64_t first = 0; first + before->n_frames <= n; first += before->n_frames) {              \
            const uint64_t *frames = stream + first;                                                      \
            disturb(before, &found, &chance, first);                                                      \
            for (uint64_t k = 0; k < n_asks; k++)                                                         \
                at_hand = frames[asks[k] + (at_hand & zero)];                                             \
            uint64_t start = ticks(), begin = ticks();                                                    \
            for (uint64_t k = 0; k < n_asks; k++)                                                         \
                total += walk_##kind(t, tables, frames[asks[k]], bits);                                   \
            uint64_t end = ticks();                                                                       \
            *took++ = (int64_t)(end - begin) - (int64_t)(begin - start);                                  \
        }                                                                                                 \
        found.whole = ticks() - first_tick;                                                               \
        found.total = total + (at_hand & zero);                                                           \
        *out = found;                                                                                     \
    }

ENTRIES(list, 64)
ENTRIES(list, 32)
ENTRIES(tree, 64)
ENTRIES(tree, 32)

/* Replays: entries of a recorded build, as p2mperf's `Asked`, `Condition` and `Replayed` have them. */
struct asked {
    const uint32_t *items;
    const int64_t *starts;
    const uint64_t *m2p;
};
struct condition {
    uint64_t *flushed;
    uint64_t n_flushed_bytes;
    const uint64_t *worked_on;
    uint64_t n_lines;
    const uint32_t *n_touches;
    uint64_t apart;
};
struct replayed {
    uint64_t total, n_wrong, n_flushes, work, whole;
};

#define M2P_ITEM 0x80000000u
enum { AT_HAND = 1024, LINE_ITEMS = 16 };

/* get_phys_to_machine of 3.18 is a function that is called; of the list only the slow path is one */
static __attribute__((noinline)) uint64_t get_phys_to_machine(const struct tree *t, uint64_t pfn)
{
    return walk_tree(*t, t, pfn, 64);
}

always_inline uint64_t walk_called_tree(struct tree t, const struct tree *original, uint64_t pfn, int bits)
{
    (void)t, (void)bits;
    return get_phys_to_machine(original, pfn);
}

#define REPLAYS(name, kind)                                                                               \
    void name##_replay_64(const struct kind *tables, const struct asked *asked,                           \
                          const struct condition *c, int64_t first, int64_t last, int64_t *took,          \
                          uint64_t zero, struct replayed *out)                                            \
    {                                                                                                     \
        const struct kind t = *tables;                                                                    \
        const uint32_t *items = asked->items;                                                             \
        const int64_t *starts = asked->starts;                                                            \
        uint64_t chance = 0x9E3779B97F4A7C15 ^ (uint64_t)first, at_hand = 0, total = 0, n_wrong = 0;      \
        struct entered found = {0};                                                                       \
        struct before before = {.flushed = c->flushed, .n_flushed_bytes = c->n_flushed_bytes,             \
                                .worked_on = c->worked_on, .n_lines = c->n_lines, .apart = c->apart};     \
        uint64_t first_tick = ticks();                                                                    \
        for (int64_t number = first; number < last; number++) {                                           \
            int64_t begins = starts[number], ends = starts[number + 1];                                   \
            before.n_touches = c->n_touches[number];                                                      \
            disturb(&before, &found, &chance, (uint64_t)number);                                          \
            for (int64_t at = begins; at < ends && at < begins + AT_HAND; at += LINE_ITEMS)               \
                at_hand = items[at + (int64_t)(at_hand & zero)];                                          \
            uint64_t start = ticks(), begin = ticks();                                                    \
            for (int64_t at = begins; at < ends; at++) {                                                  \
                uint64_t item = items[at], entry;                                                         \
                if (item & M2P_ITEM) {                                                                    \
                    uint64_t mfn = item & (M2P_ITEM - 1);                                                 \
                    entry = walk_##name(t, tables, load(asked->m2p, mfn, 64), 64);                        \
                    if (unlikely(entry != mfn))                                                           \
                        n_wrong++;                                                                        \
                } else {                                                                                  \
                    entry = walk_##name(t, tables, item, 64);                                             \
                }                                                                                         \
                total += entry;                                                                           \
            }                                                                                             \
            uint64_t end = ticks();                                                                       \
            *took++ = (int64_t)(end - begin) - (int64_t)(begin - start);                                  \
        }                                                                                                 \
        *out = (struct replayed){total + (at_hand & zero), n_wrong, found.n_flushes, found.work,          \
                                 ticks() - first_tick};                                                   \
    }

REPLAYS(list, list)
REPLAYS(tree, tree)
REPLAYS(called_tree, tree)
