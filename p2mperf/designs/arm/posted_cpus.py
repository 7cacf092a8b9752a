"""CPUs with private TLBs: where the posted virtual-linear table goes wrong, step by step, and how to mend it.

A model, not a measurement: memory is a dictionary of words, and a CPU translates by walking real LPAE
descriptors in it. A store to a table reaches the walkers only at the next barrier, and between any two
instructions the CPU may walk speculatively: both as the architecture allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from p2mperf.designs.arm.checks import correct_verdict, posted_verdict
from p2mperf.errors import P2mperfError
from p2mperf.guests.lpae import Stage2
from p2mperf.units import GIB, MIB, PAGE_SHIFT, PAGE_SIZE

_ADDRESS = ((1 << 40) - 1) & ~(PAGE_SIZE - 1)
_TABLE = 3
_READ_ONLY = 1 << 7  # AP[2] of a stage-1 entry; the write bit of a stage-2 one
VMAP_SLOT = 128


class HypFault(P2mperfError):
    """Xen itself took a fault: on real hardware, a crash of the host."""


class Memory:
    """Physical memory as words, and who holds its pages.

    Attributes
    ----------
    words : dict of int to int
        Word by physical address; absent ones are 0.
    held : set of int
        Pages that were allocated and not freed.
    """

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.held: set[int] = set()
        self._next = 1 << 30

    def allocate(self, n_pages: int = 1) -> int:
        """Take zeroed pages in a row; returns the address of the first."""
        first = self._next
        self._next += n_pages * PAGE_SIZE
        self.held |= set(range(first, self._next, PAGE_SIZE))
        return first

    def free(self, page: int, n_pages: int = 1) -> None:
        """Give pages back, cleared, as whoever gets them next would find them."""
        for address in range(page, page + n_pages * PAGE_SIZE, PAGE_SIZE):
            self.held.remove(address)
            for word in range(address, address + PAGE_SIZE, 8):
                self.words.pop(word, None)

    def read(self, address: int) -> int:
        """Word at a physical address."""
        return self.words.get(address, 0)


@dataclass
class Domain:
    """A guest with its stage-2 table, and what the patch keeps for it.

    Attributes
    ----------
    name : str
        To tell domains apart.
    start, end : int
        Guest addresses of its RAM [bytes].
    root : int
        Address of the two root pages.
    start_slot, end_slot : int
        second_lvl_start and second_lvl_end.
    copy : int
        second_lvl: address of its two pages; 0 for none.
    """

    name: str
    start: int
    end: int
    root: int = 0
    start_slot: int = 0
    end_slot: int = 0
    copy: int = 0
    pages: list[int] = field(default_factory=list)


class Cpu:
    """One CPU: its root table, its TLB, the stores that walkers do not see yet.

    Attributes
    ----------
    tlb : dict of int to (int, bool)
        Physical page and whether it may be written, by virtual page.
    owner : Domain or None
        Whose window its own table holds, where each CPU has one.
    speculates_at : int
        Address it walks speculatively after every instruction; 0 for none.
    n_walk_loads : int
        Loads of its page walks so far.
    """

    def __init__(self, memory: Memory, xen_second: int) -> None:
        self.memory = memory
        self.root = memory.allocate()
        self.dommap = memory.allocate(2)
        pages = (xen_second, xen_second + PAGE_SIZE, self.dommap, self.dommap + PAGE_SIZE)
        for index, page in enumerate(pages):
            memory.words[self.root + 8 * index] = page | _TABLE
        self.tlb: dict[int, tuple[int, bool]] = {}
        self.owner: Domain | None = None
        self.speculates_at = 0
        self.n_walk_loads = 0
        self._pending: dict[int, int] = {}

    def store_entry(self, address: int, value: int) -> None:
        """Store to a table, without a barrier."""
        self._pending[address] = value
        self._speculate()

    def dsb(self) -> None:
        """Make earlier stores visible to walkers, and wait for invalidations."""
        self.memory.words.update(self._pending)
        self._pending.clear()
        self._speculate()

    def tlbi(self, address: int, n_bytes: int = PAGE_SIZE) -> None:
        """Invalidate pages in this CPU's TLB only (TLBIMVAH)."""
        for page in range(address >> PAGE_SHIFT, (address + n_bytes) >> PAGE_SHIFT):
            self.tlb.pop(page, None)
        self._speculate()

    def read(self, address: int) -> int:
        """Load a word through the TLB."""
        page, _ = self._translate(address)
        return self.memory.read(page | address & 0xFFF)

    def write(self, address: int, value: int) -> None:
        """Store a word through the TLB."""
        page, writable = self._translate(address)
        if not writable:
            raise HypFault(f"permission fault: Xen may not write at {address:#x}")
        self.memory.words[page | address & 0xFFF] = value

    def _translate(self, address: int) -> tuple[int, bool]:
        if address >> PAGE_SHIFT not in self.tlb:
            self._fill(address)
        if address >> PAGE_SHIFT not in self.tlb:
            raise HypFault(f"translation fault: nothing is mapped at {address:#x}")
        return self.tlb[address >> PAGE_SHIFT]

    def _fill(self, address: int) -> None:
        table = self.root
        for index in (address >> 30, (address >> 21) & 511, (address >> 12) & 511):
            entry = self.memory.read(table + 8 * index)
            self.n_walk_loads += 1
            if entry & 3 != _TABLE:
                return
            table = entry & _ADDRESS
        self.tlb[address >> PAGE_SHIFT] = (table, not entry & _READ_ONLY)

    def _speculate(self) -> None:
        if self.speculates_at and self.speculates_at >> PAGE_SHIFT not in self.tlb:
            self._fill(self.speculates_at)


class Posted:
    """Xen with the patch as posted: one table of second-level entries for all CPUs.

    Parameters
    ----------
    n_cpus : int
        CPUs.

    Attributes
    ----------
    cpus : list of Cpu
        They share xen_second.
    """

    window = 0x08000000
    first_slot = 64
    points = int(Stage2.POINTS | Stage2.WRITE)  # what p2m_create_table wrote at the time
    judge = staticmethod(posted_verdict)

    def __init__(self, n_cpus: int = 2) -> None:
        self.memory = Memory()
        self.second = self.memory.allocate(2)
        self.cpus = [Cpu(self.memory, self.second) for _ in range(n_cpus)]
        self.vmap = 0x5A5A000 | _TABLE
        self.memory.words[self.second + 8 * VMAP_SLOT] = self.vmap

    def table(self, cpu: Cpu) -> int:
        """Address of the table whose slots are the window's."""
        return self.second

    def create(self, name: str, start: int = 2 * GIB, n_bytes: int = GIB) -> Domain:
        """Create a domain with a second-level page for each GiB and a third-level page at the start of each.

        Parameters
        ----------
        name : str
            To tell domains apart; it colours the entries.
        start, n_bytes : int
            Its RAM [bytes].

        Returns
        -------
        Domain
        """
        domain = Domain(name, start, start + n_bytes, self.memory.allocate(2))
        for gib in range(start >> 30, -(-domain.end >> 30)):
            second, third = self.memory.allocate(), self.memory.allocate()
            domain.pages += [second, third]
            self.memory.words[domain.root + 8 * gib] = second | self.points
            self.memory.words[second] = third | self.points
            self.memory.words[third] = leaf_of(name, gib)
        return domain

    def destroy(self, domain: Domain) -> None:
        """p2m_teardown: free the table's pages."""
        for page in domain.pages:
            self.memory.free(page)
        self.memory.free(domain.root, 2)

    def entry_address(self, gpa: int) -> int:
        """get_vlpt_3lvl_pte: one shift."""
        return self.window + 8 * (gpa >> PAGE_SHIFT)

    def prepare(self, cpu: Cpu, domain: Domain) -> None:
        """prepare_vlpt on one CPU."""
        found = self.judge(domain.start, domain.end)
        shift = self.first_slot - 64
        domain.copy = self.memory.allocate(2)
        for slot in range(found.first_slot + shift, found.end_slot + shift):
            entry = self.memory.read(domain.root + 8 * (slot - self.first_slot))
            self.memory.words[domain.copy + 8 * slot] = entry
        domain.start_slot, domain.end_slot = found.first_slot + shift, found.end_slot + shift
        self._show(cpu, domain)

    def _show(self, cpu: Cpu, domain: Domain) -> None:
        for slot in range(domain.start_slot, domain.end_slot):
            cpu.dsb()
            cpu.store_entry(self.second + 8 * slot, self.memory.read(domain.copy + 8 * slot))
            cpu.dsb()
        self._flush(cpu, domain)

    def _flush(self, cpu: Cpu, domain: Domain) -> None:
        cpu.dsb()
        for slot in range(domain.start_slot, domain.end_slot):
            cpu.tlbi(self._slot_address(slot), 2 * MIB)
        cpu.dsb()

    def _slot_address(self, slot: int) -> int:
        return self.window + (slot - self.first_slot) * 2 * MIB

    def restore(self, cpu: Cpu, domain: Domain) -> None:
        """restore_vlpt on a switch to a domain: skip what is equal in memory; no barrier before the flush."""
        cpu.dsb()
        for slot in range(domain.start_slot, domain.end_slot):
            wanted = self.memory.read(domain.copy + 8 * slot)
            if self.memory.read(self.second + 8 * slot) != wanted:
                cpu.store_entry(self.second + 8 * slot, wanted)
                cpu.tlbi(self._slot_address(slot), 2 * MIB)
        cpu.dsb()

    def cleanup(self, domain: Domain) -> None:
        """cleanup_vlpt: unmap the two pages of the copy, and nothing else."""

    def unprotect(self, cpu: Cpu, gpa: int) -> int:
        """Handle a write fault: set the write bit through the window; returns what was there."""
        address = self.entry_address(gpa)
        entry = cpu.read(address)
        cpu.write(address, entry | int(Stage2.WRITE))
        return entry


class Mended(Posted):
    """The same idea without the defects.

    Each CPU has the window in the table it has for itself anyway, at 2 GiB, and notes whose it is; a switch
    to another domain breaks before it makes, with barriers in order; table entries have no write bit.
    """

    window = 0x80000000
    first_slot = 0
    points = int(Stage2.POINTS)
    judge = staticmethod(correct_verdict)

    def table(self, cpu: Cpu) -> int:
        return cpu.dommap

    def prepare(self, cpu: Cpu, domain: Domain) -> None:
        self.cleanup(domain)
        super().prepare(cpu, domain)

    def _show(self, cpu: Cpu, domain: Domain) -> None:
        if cpu.owner is not None:
            self._replace(cpu, cpu.owner, lambda slot: 0)
        self._replace(cpu, domain, lambda slot: self.memory.read(domain.copy + 8 * slot))
        cpu.owner = domain

    def _replace(self, cpu: Cpu, domain: Domain, entry: Callable[[int], int]) -> None:
        for slot in range(domain.start_slot, domain.end_slot):
            cpu.store_entry(self.table(cpu) + 8 * slot, entry(slot))
        self._flush(cpu, domain)

    def restore(self, cpu: Cpu, domain: Domain) -> None:
        if cpu.owner is not domain:
            self._show(cpu, domain)

    def cleanup(self, domain: Domain) -> None:
        if not domain.copy:
            return
        for cpu in self.cpus:
            if cpu.owner is domain:
                self._replace(cpu, domain, lambda slot: 0)
                cpu.owner = None
        self.memory.free(domain.copy, 2)
        domain.copy = domain.start_slot = domain.end_slot = 0


class PostedWritable(Posted):
    """As posted, over table entries without the write bit, so that the other defects can be seen at all."""

    points = int(Stage2.POINTS)


def leaf_of(name: str, gib: int) -> int:
    """Entry of a protected page, told apart by the domain's first letter and the GiB it lies in."""
    return (ord(name[0]) << 24 | gib << PAGE_SHIFT) | int(Stage2.POINTS)
