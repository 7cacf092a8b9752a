"""Families: designs that answer the same question over the same guests, and what is measured of them.

Light data, which plans, figures, help texts and the command line read. Another package adds a family by an
entry point in the group ``p2mperf.families`` whose value is ``module:attribute``, a `Family`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from p2mperf.errors import known, unknown
from p2mperf.plugins import Registry
from p2mperf.preambles import KernelEntry, Preamble
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, parse_size

Sizes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DesignSpec:
    """A design, as it is declared.

    Attributes
    ----------
    name : str
        As users and results call it.
    target : str
        "module:Class".
    headline : bool
        Takes part in a sweep without being asked for.
    colour : str
        In every figure; "" for whatever is left.
    plans : tuple of str
        Plans that it takes part in though it is no headline.
    reference : str
        Design of the same family that it is divided by where both are measured; "" for the family's.
    """

    name: str
    target: str
    headline: bool = True
    colour: str = ""
    plans: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True)
class KernelLayout:
    """On which pages a family's system has its tables: what the page backing ``kernel`` means.

    Attributes
    ----------
    direct_bytes : int
        Page size of what software reads tables through: 4096 or 2 MiB [bytes].
    window_bytes : int
        Page size of virtual areas in which the MMU finds entries [bytes].
    source : str
        Who says so.
    """

    direct_bytes: int = HUGE_SIZE
    window_bytes: int = PAGE_SIZE
    source: str = ""


@dataclass(frozen=True)
class Family:
    """Designs over one kind of guest.

    Attributes
    ----------
    name : str
        As results call it.
    geometries : tuple of str
        Geometries of its guests; a geometry is of one family.
    reference : str
        Design that the others are divided by, unless they name another.
    designs : tuple of DesignSpec
        Designs that come with it; entry points may add others.
    sizes : mapping of str to mapping of str to tuple of str
        For each plan and geometry: sizes of the guests with nothing but RAM that it measures.
    presets : mapping of str to tuple of str
        For each plan: presets that it measures besides.
    knee_limits : mapping of str to str
        For each geometry whose guests a full plan puts around the knees of this machine: the largest of them.
    kernel_layout : KernelLayout
        On which pages its system has its tables. Where a family does not say: tables on 2 MiB pages, as
        systems with large pages have their direct map, and virtual areas on 4 KiB pages.
    entry : KernelEntry, optional
        What one entry into its kernel asks for, and what comes before; None where nobody has said so.
    listed : str
        Design whose virtual area has limits; "" for the reference.
    """

    name: str
    geometries: tuple[str, ...]
    reference: str
    designs: tuple[DesignSpec, ...]
    sizes: Mapping[str, Sizes] = field(default_factory=dict)
    presets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    knee_limits: Mapping[str, str] = field(default_factory=dict)
    kernel_layout: KernelLayout = KernelLayout()
    entry: KernelEntry | None = None
    listed: str = ""


_PV_SIZES = {
    "pv64": ("512M", "2049M", "8G", "43G", "128G", "400G"),
    "pv32": ("512M", "8G", "43G"),
}
_ARM_SIZES = {"lpae": ("1G", "16G")}
_HAP_SIZES = {"hap64": ("1G", "16G", "64G")}
_BUILT, _BROKEN = "hvm-16g", ("hvm-16g-broken30", "hvm-16g-broken60")
_BY_ORDER = ("full", "hap")
_WITH_HOLES = ("dom0-64-e820", "dom0-32-e820")

_TIGHT = Preamble("tight", False, 0, 0, "no kernel: entries follow each other at once, for comparison")
# Xen writes CR3 whenever a 64-bit PV guest goes from user to kernel (toggle_guest_mode in
# xen/arch/x86/x86_64/traps.c), and the kernel's pages are not global (adjust_guest_l1e in
# xen/arch/x86/mm.c), so that its translations are gone. Both leave 32-bit guests alone. How much other work
# comes between two entries is the program's to say.
_FLUSHED = (
    "Xen 4.4 writes CR3 when a 64-bit PV guest enters its kernel (toggle_guest_mode), whose pages are not "
    "global (adjust_guest_l1e); 32-bit guests are spared"
)
_PV_ENTRY = KernelEntry(
    # An anonymous fault of Linux 3.18 and 3.19 with transparent huge pages configured: pgd_val, pud_val, two
    # pmd_trans_huge, pte_offset_map; mk_pte of the new page; pte_lockptr and pte_offset_map; set_pte_at. The
    # frames are those of the pud, pmd and pte pages and of the data. The m2p lookups between are left out,
    # and 32-bit kernels, which have no pud, are taken to ask for as many.
    (0, 1, 2, 2, 2, 3, 2, 2, 2),
    "handle_mm_fault and arch/x86/xen/mmu.c of Linux 3.18 and 3.19: 9 p2m lookups of an anonymous fault",
    (
        Preamble("flush+8M", True, 8 << 20, 1024, f"{_FLUSHED}; the work is an estimate"),
        _TIGHT,
        Preamble("flush+1M", True, 1 << 20, 256, f"{_FLUSHED}; less work"),
        Preamble("flush", True, 0, 0, f"{_FLUSHED}; no work"),
        Preamble("8M", False, 8 << 20, 1024, "32-bit guests enter their kernel with the same page tables"),
    ),
    usual={"pv64": ("flush+8M", "tight"), "pv32": ("8M", "tight")},
)
_ARM_SOURCE = "not known: the trap to Xen flushes nothing, a switch of guests may"
_ARM_ENTRY = KernelEntry(
    (0,),
    "a write fault of a guest whose memory is traced finds one entry of its p2m",
    (
        _TIGHT,
        Preamble("8M", False, 8 << 20, 1024, _ARM_SOURCE),
        Preamble("flush+8M", True, 8 << 20, 1024, _ARM_SOURCE),
    ),
)
# Intel's manual, VMX support for address translation: with a VPID transitions need not invalidate what is
# cached, without one every exit does. "Enable VPID" went to xen-devel on 12 December 2007, AMD's ASIDs are
# older. Which of them a machine of those years had is not known, nor how much a guest does between two exits.
_HAP_ENTRY = KernelEntry(
    (0,),
    "a nested page fault, or an access that is emulated, finds one frame of the guest (p2m_gfn_to_mfn)",
    (
        Preamble(
            "8M", False, 8 << 20, 1024, "an exit of a guest with an ASID or a VPID; the work is an estimate"
        ),
        Preamble(
            "flush+8M", True, 8 << 20, 1024, "an exit of a guest without either; the work is an estimate"
        ),
        _TIGHT,
    ),
    usual={"hap64": ("8M", "flush+8M")},
)

_FAMILIES = (
    Family(
        "pv",
        ("pv64", "pv32"),
        "pv-linear",
        (
            DesignSpec("pv-tree", "p2mperf.designs.pv.tree:PvTree", colour="#D55E00"),
            DesignSpec("pv-linear", "p2mperf.designs.pv.linear:PvLinear", colour="#0072B2"),
            DesignSpec(
                "pv-linear-nested", "p2mperf.designs.pv.linear_nested:PvLinearNested", False, "#56B4E9"
            ),
            DesignSpec("pv-tree-4k", "p2mperf.designs.pv.paged:PvTree4k", False, "#E69F00"),
            DesignSpec("pv-tree-2m", "p2mperf.designs.pv.paged:PvTree2m", False, "#F0E442"),
            DesignSpec("pv-linear-4k", "p2mperf.designs.pv.paged:PvLinear4k", False, "#009E73"),
            DesignSpec("pv-linear-2m", "p2mperf.designs.pv.paged:PvLinear2m", False, "#CC79A7"),
        ),
        sizes={
            "quick": {"pv64": ("512M", "8G"), "pv32": ("512M",)},
            "default": _PV_SIZES,
            "full": _PV_SIZES,
            "life": {"pv64": ("8G", "128G", "400G"), "pv32": ("43G",)},
        },
        presets={"default": _WITH_HOLES, "full": _WITH_HOLES},
        knee_limits={"pv64": "400G", "pv32": "64G"},
        kernel_layout=KernelLayout(
            PAGE_SIZE,
            PAGE_SIZE,
            "Xen 4.4 hides large pages from PV guests (pv_cpuid in xen/arch/x86/traps.c clears PSE and "
            "PAGE1GB) and refuses them in page tables (get_page_from_l2e in xen/arch/x86/mm.c, unless booted "
            "with allowsuperpage); Linux 3.19 then maps its direct map on 4 KiB pages too "
            "(probe_page_size_mask in arch/x86/mm/init.c)",
        ),
        entry=_PV_ENTRY,
    ),
    Family(
        "arm",
        ("lpae",),
        "arm-vlpt",
        (
            DesignSpec("arm-walk", "p2mperf.designs.arm.walk:ArmWalk", colour="#D55E00"),
            DesignSpec("arm-walk-thrashing", "p2mperf.designs.arm.walk:ArmWalkThrashing", headline=False),
            DesignSpec("arm-walk-direct", "p2mperf.designs.arm.walk:ArmWalkDirect", colour="#E69F00"),
            DesignSpec("arm-vlpt", "p2mperf.designs.arm.vlpt:ArmVlpt", colour="#0072B2"),
        ),
        sizes={"quick": {"lpae": ("1G",)}, "default": _ARM_SIZES, "full": _ARM_SIZES},
        kernel_layout=KernelLayout(
            HUGE_SIZE,
            PAGE_SIZE,
            "Xen/ARM, November 2013: map_domain_page shows 2 MiB blocks, and 64-bit Xen maps all RAM in "
            "large ones (xen/arch/arm/mm.c); the window's last level are the guest's own third-level pages",
        ),
        entry=_ARM_ENTRY,
    ),
    Family(
        "hap",
        ("hap64", "hap-pae", "hap-nonpae"),
        "hap-walk",
        (
            DesignSpec("hap-walk", "p2mperf.designs.hap.walk:HapWalk", colour="#D55E00"),
            DesignSpec("hap-linear", "p2mperf.designs.hap.linear:HapLinear", colour="#0072B2"),
            DesignSpec(
                "hap-walk-2m", "p2mperf.designs.hap.walk:HapWalk2m", False, "#E69F00", plans=_BY_ORDER
            ),
            DesignSpec(
                "hap-linear-2m",
                "p2mperf.designs.hap.linear:HapLinear2m",
                False,
                "#56B4E9",
                plans=_BY_ORDER,
                reference="hap-walk-2m",
            ),
            DesignSpec(
                "hap-walk-4k", "p2mperf.designs.hap.walk:HapWalk4k", False, "#CC79A7", plans=_BY_ORDER
            ),
            DesignSpec(
                "hap-linear-4k",
                "p2mperf.designs.hap.linear:HapLinear4k",
                False,
                "#009E73",
                plans=_BY_ORDER,
                reference="hap-walk-4k",
            ),
        ),
        # What differs between walk and window is the size of leaves, which designs have in a full plan and
        # guests elsewhere: such as a builder leaves them on a host whose memory is whole, or broken.
        sizes={
            "quick": {"hap64": ("1G",)},
            "full": _HAP_SIZES,
            "hap": _HAP_SIZES,
            "life": {"hap64": ("16G",)},
        },
        presets={"default": _BROKEN[:1], "full": (_BUILT, *_BROKEN), "hap": _BROKEN[1:]},
        kernel_layout=KernelLayout(
            HUGE_SIZE,
            PAGE_SIZE,
            "64-bit Xen maps all machine memory on large pages, and the p2m's windows end in its own pages "
            "(RO_MPT and LINEAR_PT of xen/include/asm-x86/config.h, 2007 to 4.2)",
        ),
        entry=_HAP_ENTRY,
        listed="hap-linear",
    ),
)


def _wrong(family: Family) -> str:
    """What is wrong with a family of another package, or ""."""
    looks = (_taken, _wrong_references, _wrong_guests, _wrong_pages)
    return next((reason for look in looks for reason in look(family)), "")


def _taken(family: Family) -> Iterator[str]:
    """What there is not, or is another family's."""
    from p2mperf.guests.geometries import GEOMETRIES

    others = list(FAMILIES.before(family.name))
    taken = {geometry: other.name for other in others for geometry in other.geometries}
    declared = {spec.name: other.name for other in others for spec in other.designs}
    for spec in family.designs:
        if spec.name in declared:
            yield f"declares design {spec.name}, which is of family {declared[spec.name]}"
        declared[spec.name] = family.name
    for geometry in family.geometries:
        if geometry not in GEOMETRIES.names():
            yield f"names geometry {geometry}, and there is none"
        if geometry in taken:
            yield f"takes geometry {geometry}, which is of family {taken[geometry]}"
    if not family.geometries:
        yield "has no geometry"


def _wrong_references(family: Family) -> Iterator[str]:
    named = {spec.name: spec.reference for spec in family.designs}
    for reference in filter(None, (family.reference, *named.values())):
        if reference not in named:
            yield f"is compared with {reference}, which is none of its designs"
        elif named[reference]:
            yield f"is compared with {reference}, which is compared with {named[reference]} itself"


def _wrong_guests(family: Family) -> Iterator[str]:
    from p2mperf.guests.guest import Guest
    from p2mperf.guests.presets import ALL_PRESETS

    for plan, sizes in family.sizes.items():
        for geometry, texts in sizes.items():
            if geometry not in family.geometries:
                yield f"has sizes of {geometry} for plan {plan}, which is none of its geometries"
            for text in texts:
                Guest.plain(text, geometry=geometry)
    for preset in (name for names in family.presets.values() for name in names):
        if preset not in ALL_PRESETS:
            yield f"measures preset {preset}, and there is none"


def _wrong_pages(family: Family) -> Iterator[str]:
    for n_bytes in (family.kernel_layout.direct_bytes, family.kernel_layout.window_bytes):
        if n_bytes not in (PAGE_SIZE, HUGE_SIZE):
            yield f"has its kernel's tables on pages of {n_bytes} bytes, not of {PAGE_SIZE} or {HUGE_SIZE}"
    for geometry, text in family.knee_limits.items():
        if geometry not in family.geometries:
            yield f"has a limit of {geometry}, which is none of its geometries"
        parse_size(text)


FAMILIES: Registry[Family] = Registry(
    "family", "p2mperf.families", Family, {family.name: family for family in _FAMILIES}, _wrong
)
# By name; those of other packages are among them. The first is measured where none is named.
families = FAMILIES.sound
find_family = FAMILIES.find


def find_preamble(family: str, name: str) -> Preamble:
    """Find what may come before an entry, by name.

    Raises
    ------
    BadInputError
        When the family states none of that name.
    """
    entry = find_family(family).entry
    there = {preamble.name: preamble for preamble in (entry.preambles if entry else ())}
    return there[known("preamble", name, there)]


def preambles() -> tuple[str, ...]:
    """Names of all preambles that families state, each once."""
    stated = (preamble.name for one in families().values() if one.entry for preamble in one.entry.preambles)
    return tuple(dict.fromkeys(stated))


def geometries_of(family: Family, entry_bits: int | None = None) -> tuple[str, ...]:
    """Choose among a family's geometries by width.

    Parameters
    ----------
    family : Family
        Whose.
    entry_bits : int, optional
        Bits of an entry; without it, those of 64 bits, or all where none has so many.

    Returns
    -------
    tuple of str
        Empty when none is of that width.
    """
    from p2mperf.guests.geometries import find_geometry

    of_width = tuple(
        name for name in family.geometries if find_geometry(name).entry_bits == (entry_bits or 64)
    )
    return of_width or (() if entry_bits else family.geometries)


def family_of_geometry(name: str) -> Family:
    """Find the family whose guests have a geometry.

    Raises
    ------
    BadInputError
        When no family has it.
    """
    for family in families().values():
        if name in family.geometries:
            return family
    raise unknown("geometry", name, [name for family in families().values() for name in family.geometries])
