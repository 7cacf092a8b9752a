"""The answer to "does this guest's list fit": every limit with its verdict, what binds, the largest guest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from p2mperf.errors import BadInputError, known
from p2mperf.sizing.arithmetic import address_space, area_bytes, list_bytes, low_memory_parts, vmalloc_bytes
from p2mperf.sizing.parameters import Parameters, parameters
from p2mperf.sizing.registry import Limit, every_limit, left_out
from p2mperf.sizing.shapes import DEFAULT_DESIGN
from p2mperf.units import PAGE_SIZE, format_size, parse_pages, readable_size

NO_UPPER_CHECK = (
    "the kernel of 2014 registered the area without looking at its upper end and would have run on into the"
    " pkmap and fixmap; later kernels stop with a BUG; this tool refuses"
)
UPPER_END_FITS = "the kernel of 2014 registered the area without looking at its upper end; here there is room"


@dataclass(frozen=True)
class Ruling:
    """What one limit says about one guest.

    Attributes
    ----------
    limit, unit, source, confidence, remark : str
        As in the `Limit`.
    needed_bytes, available_bytes : int
        What the guest needs and what there is [bytes].
    fits : bool
        Whether this limit lets the guest be.
    largest_guest_bytes : int
        Largest guest that this limit alone lets be [bytes], exact to the page.
    reason : str
        The verdict in words.
    """

    limit: str
    unit: str
    needed_bytes: int
    available_bytes: int
    fits: bool
    largest_guest_bytes: int
    reason: str
    source: str
    confidence: str
    remark: str


@dataclass(frozen=True)
class Answer:
    """What a guest's linear list needs, what it gets, and which limit gives out first.

    Attributes
    ----------
    parameters : Parameters
        What was assumed, defaults filled in.
    guest_bytes : int
        Guest memory, balloonable memory included [bytes].
    n_pages, n_padding_entries : int
        Entries of the list, and the INVALID entries that fill its last leaf.
    list_bytes, area_bytes, granule_bytes : int
        The list, the virtual area for it, and the step the area grows in [bytes].
    verdicts : tuple of Ruling
        One for every limit that applies.
    largest_guest_bytes : int
        Largest guest that fits [bytes], exact to the page; 0 if none does.
    largest_area_bytes : int
        Its virtual area [bytes].
    next_guest_bytes : int
        That guest and one granule more [bytes]; it does not fit.
    next_refused_by : tuple of str
        Limits that refuse it.
    """

    parameters: Parameters
    guest_bytes: int
    n_pages: int
    n_padding_entries: int
    list_bytes: int
    area_bytes: int
    granule_bytes: int
    verdicts: tuple[Ruling, ...]
    largest_guest_bytes: int
    largest_area_bytes: int
    next_guest_bytes: int
    next_refused_by: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every limit lets the guest be."""
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def binds(self) -> tuple[str, ...]:
        """Limits that give out first as the guest grows."""
        first = min(verdict.largest_guest_bytes for verdict in self.verdicts)
        return tuple(verdict.limit for verdict in self.verdicts if verdict.largest_guest_bytes == first)

    @property
    def refused_by(self) -> tuple[str, ...]:
        """Limits that do not let the guest be, the tightest first."""
        refusing = [verdict for verdict in self.verdicts if not verdict.fits]
        return tuple(v.limit for v in sorted(refusing, key=lambda verdict: verdict.largest_guest_bytes))

    @property
    def available_bytes(self) -> int:
        """Virtual area there is for the list [bytes]."""
        return area_available_bytes(self.parameters, self.guest_bytes)

    @property
    def kernel_behaviour(self) -> str:
        """What the kernel itself did about an area that is too small; empty where there is no such kernel."""
        if not self.parameters.shape.home.has_vmalloc:
            return ""
        return UPPER_END_FITS if self.area_bytes <= self.available_bytes else NO_UPPER_CHECK

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers rest on, and options that have no effect."""
        return tuple(_notes(self.parameters))

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        size = f"{readable_size(self.guest_bytes)} with {self.parameters.shape.entry_bytes * 8}-bit entries"
        if self.fits:
            return f"{size} fits; first to give out: {self.on(self.binds[0]).reason}"
        return f"{size} does not fit: {'; '.join(self.on(name).reason for name in self.refused_by)}"

    def on(self, limit: str) -> Ruling:
        """Return the verdict of one limit by name."""
        verdicts = {verdict.limit: verdict for verdict in self.verdicts}
        return verdicts[known("limit", limit, verdicts)]

    def to_dict(self) -> dict[str, object]:
        """Everything as plain data for JSON; sizes in bytes."""
        plain = {
            "verdict": self.verdict,
            "fits": self.fits,
            "binds": list(self.binds),
            "refused_by": list(self.refused_by),
            "guest_bytes": self.guest_bytes,
            "entry_bits": self.parameters.shape.entry_bytes * 8,
            "n_pages": self.n_pages,
            "n_padding_entries": self.n_padding_entries,
            "list_bytes": self.list_bytes,
            "area_bytes": self.area_bytes,
            "granule_bytes": self.granule_bytes,
            "granule_guest_bytes": self.parameters.shape.granule_guest_bytes,
            "available_bytes": self.available_bytes,
            "largest_guest_bytes": self.largest_guest_bytes,
            "largest_area_bytes": self.largest_area_bytes,
            "next_guest_bytes": self.next_guest_bytes,
            "next_refused_by": list(self.next_refused_by),
            "limits": [asdict(verdict) for verdict in self.verdicts],
            "parameters": self.parameters.to_dict(),
            "kernel_behaviour": self.kernel_behaviour,
            "notes": list(self.notes),
        }
        if self.parameters.shape.has_low_memory:
            plain["low_memory"] = low_memory_parts(self.parameters, self.guest_bytes)
            plain["address_space"] = [asdict(r) for r in address_space(self.parameters, self.guest_bytes)]
        return plain


def limits(
    guest_memory: str | int | None = None,
    *,
    entry_bits: int | None = None,
    geometry: str | None = None,
    design: str = DEFAULT_DESIGN,
    without: Iterable[str] = (),
    **settings: str | int | None,
) -> Answer:
    """Say what a guest's linear list needs, what the address space gives it, and which limit binds.

    Parameters
    ----------
    guest_memory : str or int or None
        The guest's maximum memory, such as "400G" or a number of bytes; None takes the largest guest that
        fits.
    entry_bits : int, optional
        Width of an entry, 32 or 64; 64 where there is such a list, and nothing else is said.
    geometry : str, optional
        Format of the table instead, as "hap-pae".
    design : str
        "pv-linear" (the Linux PV list), "arm-vlpt" (the window of the ARM page tables), "hap-linear" (that of
        the HAP p2m), or the reference design of another family whose limits are known.
    without : iterable of str
        Names of limits to leave out, to see what binds after them.
    **settings : str or int or None
        Address-space parameters by the names in `SETTINGS`: vmalloc, split, hypervisor, reserve, fixmap,
        hole, struct_page, hotplug_limit, max_domain_memory, ram_base, window.

    Returns
    -------
    Answer

    Raises
    ------
    BadInputError
        For a size, name or combination that cannot be meant.

    Examples
    --------
    >>> answer = limits("64G", entry_bits=32)
    >>> answer.area_bytes == 64 * 2**20, answer.fits, answer.binds
    (True, True, ('max-domain-memory',))
    >>> limits("400G", entry_bits=32, vmalloc="1M").refused_by
    ('vmalloc-area', 'max-domain-memory', 'low-memory', 'm2p-cut', 'm2p-hole')
    """
    built = parameters(entry_bits=entry_bits, geometry=geometry, design=design, **settings)
    built = replace(built, without=left_out(without))
    if not applying(built):
        raise BadInputError(f"no limit is known of lists with entries of {built.geometry}")
    return answer_for(built, None if guest_memory is None else _read_guest(built, guest_memory))


def answer_for(built: Parameters, guest: int | None) -> Answer:
    """Answer for parameters that are whole.

    Parameters
    ----------
    built : Parameters
        What is assumed.
    guest : int or None
        The guest's memory [bytes]; None takes the largest guest that fits.

    Returns
    -------
    Answer
    """
    largest = largest_guest_bytes(built)
    if guest is None:
        guest = largest or PAGE_SIZE
    next_guest = largest + built.shape.granule_guest_bytes
    return Answer(
        parameters=built,
        guest_bytes=guest,
        n_pages=guest // PAGE_SIZE,
        n_padding_entries=-(guest // PAGE_SIZE) % built.shape.n_leaf_entries,
        list_bytes=list_bytes(built, guest),
        area_bytes=area_bytes(built, guest),
        granule_bytes=built.shape.granule_bytes,
        verdicts=tuple(_judge(built, limit, guest) for limit in applying(built)),
        largest_guest_bytes=largest,
        largest_area_bytes=area_bytes(built, largest) if largest else 0,
        next_guest_bytes=next_guest,
        next_refused_by=tuple(limit.name for limit in applying(built) if not _fits(limit, built, next_guest)),
    )


def applying(built: Parameters) -> list[Limit]:
    """Limits that exist under these parameters, in the order of the registry."""
    return [limit for limit in every_limit().values() if limit.applies_to(built)]


def area_available_bytes(built: Parameters, guest_bytes: int) -> int:
    """Virtual area for the list of such a guest [bytes]: vmalloc area, window, or all it may need."""
    shape = built.shape
    if shape.home.has_vmalloc:
        return vmalloc_bytes(built, guest_bytes)
    return built.window_bytes if shape.home.has_window else list_bytes(built, shape.structural_bytes)


def largest_guest_bytes(built: Parameters, limit: Limit | None = None) -> int:
    """Find the largest guest by bisection over the same arithmetic that judges a guest.

    Parameters
    ----------
    built : Parameters
    limit : Limit or None
        Ask this limit alone; None asks every limit that applies.

    Returns
    -------
    int
        Size [bytes], exact to the page; 0 when not even one page fits.
    """
    judged = [limit] if limit else applying(built)
    n_pages = _last_true(
        lambda n_pages: all(_fits(each, built, n_pages * PAGE_SIZE) for each in judged),
        built.shape.structural_bytes // PAGE_SIZE,
    )
    return n_pages * PAGE_SIZE


def _last_true(holds: Callable[[int], bool], bound: int) -> int:
    """Last n in [1, bound] with holds(n), for a condition that once false stays false; 0 if there is none."""
    good, bad = 0, bound + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def _fits(limit: Limit, built: Parameters, guest_bytes: int) -> bool:
    return limit.needed(built, guest_bytes) <= limit.available(built, guest_bytes)


def _judge(built: Parameters, limit: Limit, guest_bytes: int) -> Ruling:
    needed, available = limit.needed(built, guest_bytes), limit.available(built, guest_bytes)
    fits = needed <= available
    texts = readable_size(needed), readable_size(available)
    if texts[0] == texts[1] and needed != available:
        texts = f"{needed} bytes", f"{available} bytes"
    share = f"needs {texts[0]} of {texts[1]} of {limit.unit}"
    lack = f"needs {texts[0]} of {limit.unit} and gets {texts[1]}"
    return Ruling(
        limit=limit.name,
        unit=limit.unit,
        needed_bytes=needed,
        available_bytes=available,
        fits=fits,
        largest_guest_bytes=largest_guest_bytes(built, limit),
        reason=f"{limit.name} {share if fits else lack}",
        source=limit.source,
        confidence=limit.confidence,
        remark=limit.remark,
    )


def _read_guest(built: Parameters, guest_memory: str | int) -> int:
    guest = parse_pages(guest_memory) * PAGE_SIZE
    if built.ram_base_bytes + guest > built.shape.structural_bytes:
        above = f" above {readable_size(built.ram_base_bytes)}" if built.ram_base_bytes else ""
        raise BadInputError(
            f"guest memory {readable_size(guest)}{above} is beyond the width: {built.geometry} entries number"
            f" {readable_size(built.shape.structural_bytes)} of memory; ask for less or for wider entries"
        )
    return guest


def _notes(built: Parameters) -> Iterable[str]:
    if built.shape.home.fixed_vmalloc_bytes and built.vmalloc_bytes is not None:
        yield f"vmalloc={format_size(built.vmalloc_bytes)} is ignored: only the 32-bit x86 kernel knows it"
    if built.shape.has_low_memory:
        yield from _notes_32bit(built)
    if built.hotplug_limit_bytes:
        yield f"the list is sized for hotplug up to {readable_size(built.hotplug_limit_bytes)}"
    if built.shape.home.has_window:
        yield f"guest memory starts at {readable_size(built.ram_base_bytes)}; the window counts from 0"
    for name in built.without:
        yield f"{name} is left out on request"


def _notes_32bit(built: Parameters) -> Iterable[str]:
    yield f"a struct page of {built.struct_page_bytes} bytes is assumed for the mem_map in low memory"
    yield (
        f"{readable_size(built.fixmap_bytes)} is taken for fixmap and pkmap (1M makes low memory the 727M of"
        " boot logs at 3:1, which are not at hand)"
    )
    yield (
        f"the area starts at a multiple of {readable_size(built.shape.granule_bytes)}; what that costs"
        " depends on where low memory ends, and belongs into reserve as modules and ioremap do (reserve is"
        f" {readable_size(built.reserve_bytes)})"
    )
