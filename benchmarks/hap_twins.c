/*
 * What showing tables in a window takes of the system, and nothing else: the same calls as p2mperf makes while it
 * splits superpages, one page each.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>

uint64_t show(uint64_t window, const uint64_t *pages, uint64_t n, int fd, uint64_t first_frame)
{
    uint64_t refused = 0;

    for (uint64_t i = 0; i < n; i++) {
        void *address = (void *)(window + (pages[i] << 12));
        off_t offset = (off_t)((first_frame + i) << 12);
        refused += mmap(address, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset) != address;
        madvise(address, 4096, MADV_NOHUGEPAGE);
    }
    return refused;
}
