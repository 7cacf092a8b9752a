"""Every limit that the linear list can run into, one entry each.

Tables and figures read `every_limit`, so a new limit is one new entry of `LIMITS`, or an entry point in the
group ``p2mperf.limits`` of another package, and shows up in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from p2mperf.errors import BadInputError, in_a_row
from p2mperf.plugins import Registry
from p2mperf.sizing.arithmetic import (
    area_bytes,
    list_bytes,
    low_memory_bytes,
    low_memory_parts,
    pool_bytes,
    table_bytes,
    vmalloc_bytes,
)
from p2mperf.sizing.parameters import Parameters, defaults_of
from p2mperf.sizing.shapes import SHAPES
from p2mperf.units import GIB, MIB, PAGE_SHIFT, PAGE_SIZE, TIB

CONFIDENCE = {
    "source": "read in the named source",
    "derived": "follows by arithmetic from what the named sources say",
    "observed": "seen in boot logs or reported by people who ran it",
    "assumed": "rests on a parameter that no source gives",
}


@dataclass(frozen=True)
class Limit:
    """One thing that can give out, as plain data and two pieces of arithmetic.

    Attributes
    ----------
    name : str
        What the user calls it.
    geometries : tuple of str
        Geometries it applies to: pv32, pv64, lpae, those of HAP, or of another package.
    unit : str
        What is counted; always in bytes.
    needed, available : callable of (Parameters, int) -> int
        Bytes that a guest of so many bytes needs, and bytes there are.
    source : str
        Where the value was read.
    confidence : str
        A key of `CONFIDENCE`.
    remark : str
        What has to be known to use it rightly.
    hypervisors : tuple of str
        Hypervisors under which it exists; empty for all.
    kept_because : str
        Why nothing can lift it; "" where it can be left out, to see what binds after it.
    """

    name: str
    geometries: tuple[str, ...]
    unit: str
    needed: Callable[[Parameters, int], int]
    available: Callable[[Parameters, int], int]
    source: str
    confidence: str
    remark: str = ""
    hypervisors: tuple[str, ...] = ()
    kept_because: str = ""

    def applies_to(self, built: Parameters) -> bool:
        """Whether this limit exists under these parameters and was not left out."""
        return (
            built.geometry in self.geometries
            and self.name not in built.without
            and (not self.hypervisors or built.hypervisor in self.hypervisors)
        )


def _guest(built: Parameters, guest_bytes: int) -> int:
    return guest_bytes


def _end_of_guest(built: Parameters, guest_bytes: int) -> int:
    return built.ram_base_bytes + guest_bytes


def _fixed(**by_geometry: int) -> Callable[[Parameters, int], int]:
    return lambda built, guest_bytes: by_geometry[built.geometry]


_PV = ("pv32", "pv64")
_HAP = ("hap64", "hap-pae", "hap-nonpae")
_M2P = "the m2p bounds the machine frames a guest can hold, so a guest cannot own more than it covers"

LIMITS = {
    limit.name: limit
    for limit in (
        Limit(
            "vmalloc-area",
            _PV,
            "virtual area",
            area_bytes,
            vmalloc_bytes,
            "Linux arch/x86/mm/pgtable_32.c, asm/pgtable_32_types.h; Documentation/x86/x86_64/mm.txt",
            "source",
            "32 bits: vmalloc= or 120M, more for a guest whose memory is all low; 64 bits: 32T",
        ),
        Limit(
            "low-memory",
            ("pv32",),
            "low memory",
            lambda built, guest_bytes: sum(low_memory_parts(built, guest_bytes).values()),
            lambda built, guest_bytes: low_memory_bytes(built),
            "boot logs of 32-bit PV guests (727M at 3:1; not at hand), Linux asm/pgtable_32_types.h",
            "assumed",
            "struct page of 32 bytes is assumed, and nothing else is charged to low memory",
        ),
        Limit(
            "max-domain-memory",
            _PV,
            "guest memory",
            _guest,
            lambda built, guest_bytes: built.max_domain_memory_bytes,
            "CONFIG_XEN_MAX_DOMAIN_MEMORY, Linux arch/x86/xen/Kconfig before the option went",
            "source",
            "memory beyond it is left unused by xen_memory_setup",
        ),
        Limit(
            "tree-top",
            _PV,
            "guest memory",
            _guest,
            _fixed(pv32=4 * TIB, pv64=512 * GIB),
            "Linux arch/x86/xen/p2m.c: top x mid x leaf entries of one page each",
            "derived",
            "binds the linear list too until 4.3 (c70727a5bc18): growing a leaf indexed the tools' tree",
        ),
        Limit(
            "entry-width",
            ("pv32", "pv64", "lpae"),
            "physical memory",
            _end_of_guest,
            lambda built, guest_bytes: built.shape.structural_bytes,
            "Linux asm/xen/page.h: two bits of an entry are marks; Xen/ARM: 40-bit guest-physical addresses",
            "derived",
            "more than this is refused as bad input",
            kept_because="an entry holds no more bits than it has",
        ),
        Limit(
            "m2p-native",
            ("pv32",),
            "machine memory",
            _guest,
            _fixed(pv32=16 * MIB // 4 * PAGE_SIZE),
            "Xen public arch-x86 headers: 0xF5800000-0xF6800000",
            "source",
            _M2P,
            ("native",),
        ),
        Limit(
            "m2p-hole",
            ("pv32",),
            "machine memory",
            _guest,
            lambda built, guest_bytes: built.hole_bytes // 4 * PAGE_SIZE,
            "Ian Campbell, xen-devel, 28 October 2014: the compat m2p may fill the whole hole",
            "source",
            _M2P,
            ("compat",),
        ),
        Limit(
            "m2p-cut",
            ("pv32",),
            "machine memory",
            _guest,
            _fixed(pv32=128 * MIB // 4 * PAGE_SIZE),
            "Andrew Cooper, xen-devel, 28 October 2014: XenServer sees the compat m2p cut off at 128M",
            "observed",
            _M2P,
            ("compat",),
        ),
        Limit(
            "m2p-64",
            ("pv64",),
            "machine memory",
            _guest,
            _fixed(pv64=256 * GIB // 8 * PAGE_SIZE),
            "Xen public arch-x86 headers: 0xFFFF800000000000-0xFFFF804000000000",
            "source",
            _M2P,
        ),
        Limit(
            "initial-mapping",
            ("pv64",),
            "initial kernel mapping",
            list_bytes,
            _fixed(pv64=GIB),
            "Linux 8f5b0c639872, which lifts it in 4.3",
            "source",
            "at best: kernel and initrd share the 1G; 2G would be the theoretical size of that mapping",
        ),
        Limit(
            "direct-map",
            ("pv64",),
            "guest memory",
            _guest,
            _fixed(pv64=64 * TIB),
            "Linux Documentation/x86/x86_64/mm.txt",
            "source",
        ),
        Limit(
            "vlpt-window",
            ("lpae",),
            "virtual window",
            area_bytes,
            lambda built, guest_bytes: built.window_bytes,
            "Xen/ARM live migration v5 4/6, xen-devel 2013: the accessor indexes from guest-physical 0",
            "derived",
            "memory below the start of RAM takes its part; for a guest that fills the window the posted patch"
            " copied one slot more than there is",
        ),
        Limit(
            "vlpt-posted-check",
            ("lpae",),
            "virtual window",
            lambda built, guest_bytes: guest_bytes >> PAGE_SHIFT << 3,
            lambda built, guest_bytes: built.window_bytes,
            "Xen/ARM live migration v5 4/6, xen-devel 2013: prepare_vlpt",
            "source",
            "measures from the start of RAM, so it lets through guests that the window cannot show",
        ),
        Limit(
            "arm-root-page",
            ("lpae",),
            "guest-physical space",
            _end_of_guest,
            _fixed(lpae=512 * GIB),
            "Xen ac6e1ae87b arch/arm/p2m.c: address bit 39 is a BUG",
            "source",
        ),
        Limit(
            "arm32-frametable",
            ("lpae",),
            "machine memory",
            _guest,
            _fixed(lpae=96 * MIB // 24 * PAGE_SIZE),
            "Xen ac6e1ae87b arch/arm config.h: 96M of frametable, 24 bytes a page",
            "derived",
            "bounds the host, and with it every guest",
        ),
        Limit(
            "hap-window",
            _HAP,
            "virtual window",
            area_bytes,
            lambda built, guest_bytes: built.window_bytes,
            "Xen asm-x86/config.h, November 2007 to 4.2: RO_MPT",
            "source",
            "shows L1 of the guest that runs; a walk needs none of it",
        ),
        Limit(
            "hap-levels",
            _HAP,
            "guest-physical space",
            _end_of_guest,
            lambda built, guest_bytes: built.shape.structural_bytes,
            "PAE: Xen 94e709da72, which refuses frames above 4G under nested paging; else window and levels",
            "derived",
            "64 bits: as far as the window reaches; without PAE: what two levels number",
            kept_because="no entry is there for what lies beyond",
        ),
        Limit(
            "hap-m2p",
            _HAP,
            "machine memory",
            _guest,
            _fixed(**{"hap64": 16 * GIB // 8 * PAGE_SIZE, "hap-pae": 16 * GIB, "hap-nonpae": 4 * GIB}),
            "Xen asm-x86/config.h, November 2007: RDWR_MPT of 16G; MACHPHYS_MBYTES of 16 and 4",
            "source",
            f"{_M2P}; on 64 bits 128T by 4.2",
        ),
        Limit(
            "hap-pool",
            _HAP,
            "page-table pool",
            table_bytes,
            pool_bytes,
            "libxl: 256 pages for each virtual processor and one for each MiB; of the former there is one",
            "source",
            "all on 4 KiB; superpages take less until they are split",
        ),
    )
}


def _wrong(limit: Limit) -> str:
    """What is wrong with a limit of another package, or ""."""
    if strange := set(limit.geometries) - SHAPES.keys():
        return f"is of geometry {', '.join(sorted(strange))}; there are {', '.join(SHAPES)}"
    if limit.confidence not in CONFIDENCE:
        return f"says confidence {limit.confidence!r}, which is none of {', '.join(CONFIDENCE)}"
    if not (limit.unit and limit.source):
        return "does not say what it counts, or where that was read"
    if not all(map(callable, (limit.needed, limit.available))):
        return "has no arithmetic: needed and available are to be called"
    for built in map(defaults_of, limit.geometries):
        if not (isinstance(limit.needed(built, GIB), int) and isinstance(limit.available(built, GIB), int)):
            return "does not count in whole bytes"
    return ""


_REGISTRY: Registry[Limit] = Registry("limit", "p2mperf.limits", Limit, LIMITS, _wrong)


def broken() -> list[str]:
    """What is wrong with each limit that cannot be used."""
    return _REGISTRY.broken()


def every_limit() -> dict[str, Limit]:
    """All limits by name, sound ones of other packages included."""
    return _REGISTRY.sound()


def limit_names() -> list[str]:
    """All names; no other package is imported for it."""
    return _REGISTRY.names()


def left_out(names: Iterable[str]) -> tuple[str, ...]:
    """Check the names of limits that a user wants to leave out.

    Raises
    ------
    BadInputError
        For a limit that does not exist or is broken, or that nothing can lift.
    """
    chosen = in_a_row("limits to leave out", names)
    for name in chosen:
        if because := _REGISTRY.find(name).kept_because:
            raise BadInputError(f"{name} cannot be left out: {because}")
    return tuple(dict.fromkeys(chosen))
