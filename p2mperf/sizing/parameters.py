"""The address-space parameters that the sizing arithmetic takes, with their defaults and their checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from p2mperf.errors import BadInputError, cut, known
from p2mperf.sizing.shapes import DEFAULT_DESIGN, SHAPES, Shape, geometry_of
from p2mperf.units import GIB, format_size, parse_size

PAGE_OFFSETS = {"3:1": 3 * GIB, "2:2": 2 * GIB}


@dataclass(frozen=True)
class Setting:
    """One address-space parameter: where it exists, what it is unless told, and what it means.

    Attributes
    ----------
    name : str
        Keyword of `limits` and, with dashes, option of the command line.
    defaults : mapping of str to str or None
        Default by geometry; a geometry that is missing here does not have the parameter.
    meaning : str
        One line for the help text.
    choices : tuple of str
        Accepted words; empty when the value is a size.
    zero_allowed : bool
        Whether a size of 0 makes sense.
    said_by_geometry : str
        The attribute of a geometry that is its default there; "" where `defaults` says it.
    """

    name: str
    defaults: Mapping[str, str | None]
    meaning: str
    choices: tuple[str, ...] = ()
    zero_allowed: bool = False
    said_by_geometry: str = ""

    @property
    def field(self) -> str:
        """Name of the `Parameters` field that holds the value."""
        return self.name if self.choices else f"{self.name}_bytes"

    def default(self, geometry: str) -> str | None:
        """What it is unless told, for one of its geometries."""
        if self.said_by_geometry:
            return format_size(getattr(SHAPES[geometry].geometry, self.said_by_geometry))
        return self.defaults[geometry]


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "vmalloc",
            {"pv32": None, "pv64": None},
            "the kernel's vmalloc=, all of it usable; unset: 128M less 8M of guard; 64 bits ignore it",
        ),
        Setting(
            "split",
            {"pv32": "3:1"},
            "user : kernel split of the 32-bit address space",
            choices=tuple(PAGE_OFFSETS),
        ),
        Setting(
            "hypervisor",
            {"pv32": "compat", "pv64": "native"},
            "the hypervisor under the guest: compat is a 32-bit guest on a 64-bit Xen",
            choices=("compat", "native"),
        ),
        Setting(
            "reserve",
            {"pv32": "0", "pv64": "0"},
            "what else lives in the vmalloc area: modules, ioremap, alignment of its start",
            zero_allowed=True,
        ),
        Setting(
            "fixmap",
            {"pv32": "1M"},
            "fixmap and pkmap, between the vmalloc area and Xen's hole",
            zero_allowed=True,
        ),
        Setting("hole", {"pv32": "168M"}, "the hypervisor's hole at the top of the 32-bit address space"),
        Setting("struct_page", {"pv32": "32"}, "size of the kernel's struct page; no source gives it"),
        Setting(
            "hotplug_limit",
            {"pv32": "0", "pv64": "0"},
            "memory-hotplug limit the list is sized for; 64-bit kernels since 3.19.8 default to 512G",
            zero_allowed=True,
        ),
        Setting(
            "max_domain_memory",
            {"pv32": "64G", "pv64": "500G"},
            "CONFIG_XEN_MAX_DOMAIN_MEMORY of the guest kernel",
        ),
        Setting(
            "ram_base",
            {"lpae": None},
            "guest-physical address at which ARM guest memory starts",
            zero_allowed=True,
            said_by_geometry="ram_base_bytes",
        ),
        Setting(
            "window",
            {"lpae": "128M", "hap64": "256G", "hap-pae": "16M", "hap-nonpae": "4M"},
            "virtual window that shows last-level page tables: of ARM, or Xen's RO_MPT for HAP",
        ),
    )
}


@dataclass(frozen=True)
class Parameters:
    """Address-space parameters with every default filled in; `parameters` builds and checks them.

    A field of another geometry than this one's holds "" or 0 and is never read.
    """

    geometry: str
    vmalloc_bytes: int | None = None
    split: str = ""
    hypervisor: str = ""
    reserve_bytes: int = 0
    fixmap_bytes: int = 0
    hole_bytes: int = 0
    struct_page_bytes: int = 0
    hotplug_limit_bytes: int = 0
    max_domain_memory_bytes: int = 0
    ram_base_bytes: int = 0
    window_bytes: int = 0
    without: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of the list that these parameters are about."""
        return SHAPES[self.geometry]

    @property
    def page_offset_bytes(self) -> int:
        """Where the 32-bit kernel's part of the address space begins [bytes]."""
        return PAGE_OFFSETS[self.split]

    @property
    def kernel_bytes(self) -> int:
        """Addresses that low memory, guard and vmalloc area share on 32 bits [bytes]."""
        return 4 * GIB - self.page_offset_bytes - self.hole_bytes - self.fixmap_bytes

    def to_dict(self) -> dict[str, object]:
        """Only what this geometry has, for JSON."""
        own = {setting.field for setting in SETTINGS.values() if self.geometry in setting.defaults}
        own |= {"geometry", "without", *(["ram_base_bytes"] if self.ram_base_bytes else [])}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in own}


def parameters(
    *,
    entry_bits: int | None = None,
    geometry: str | None = None,
    design: str = DEFAULT_DESIGN,
    **settings: str | int | None,
) -> Parameters:
    """Check address-space parameters and fill in the defaults.

    Parameters
    ----------
    entry_bits, geometry
        As `p2mperf.sizing.shapes.geometry_of`.
    design : str
        "pv-linear" (the Linux PV list), "arm-vlpt" (the window of the ARM page tables), "hap-linear" (that of
        the HAP p2m), or the reference design of another family.
    **settings : str or int or None
        Any of `SETTINGS` by name; sizes as `parse_size` reads them, None for the default.

    Returns
    -------
    built : Parameters
        Checked and complete.

    Raises
    ------
    BadInputError
        For an unknown name, an impossible value, or options that contradict each other.
    """
    geometry = geometry_of(design, entry_bits, geometry)
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        known("limits parameter", name, SETTINGS)
        _check_applies(SETTINGS[name], geometry)
    built = defaults_of(geometry, given)
    _check_values(built)
    return built


def defaults_of(geometry: str, given: Mapping[str, str | int] = MappingProxyType({})) -> Parameters:
    """Fill in the defaults of a geometry.

    Parameters
    ----------
    geometry : str
        Its name; one of another package has no settings, and begins where it says that RAM does.
    given : mapping of str to str or int
        Settings of it that are not as by default.
    """
    values: dict[str, Any] = {"ram_base_bytes": SHAPES[geometry].geometry.ram_base_bytes}
    for setting in SETTINGS.values():
        if geometry in setting.defaults:
            values[setting.field] = _read(setting, given.get(setting.name, setting.default(geometry)))
    return Parameters(geometry, **values)


def _check_applies(setting: Setting, geometry: str) -> None:
    if geometry not in setting.defaults:
        raise BadInputError(
            f"{setting.name.replace('_', '-')} contradicts {geometry}: it exists only for"
            f" {' and '.join(setting.defaults)}; leave it out, or change the entry bits or the design"
        )


def _read(setting: Setting, value: str | int | None) -> str | int | None:
    if value is None:
        return None
    if setting.choices:
        return known(setting.name, value, setting.choices)
    if re.fullmatch(r"\s*0+\s*[A-Za-z]*\s*", str(value)):
        if setting.zero_allowed:
            return 0
        raise BadInputError(
            f"{setting.name.replace('_', '-')}={cut(str(value))} leaves nothing: give a positive size, or"
            " leave it out"
        )
    return parse_size(value)


def _check_values(built: Parameters) -> None:
    if built.hypervisor and built.hypervisor not in built.shape.home.hypervisors:
        raise BadInputError(
            f"hypervisor {built.hypervisor} contradicts {built.shape.geometry.entry_bits}-bit entries: compat"
            " is a 32-bit guest on a 64-bit Xen;"
            " say --entry-bits 32 or --hypervisor native"
        )
    if not built.shape.has_low_memory:
        return
    for name in ("vmalloc", "hole"):
        size = getattr(built, f"{name}_bytes")
        if size is not None and size > 4 * GIB:
            raise BadInputError(
                f"{name}={format_size(size)} is beyond the 4G that 32 bits can address: give less than 4G"
            )
    if built.kernel_bytes <= 0:
        raise BadInputError(
            f"hole={format_size(built.hole_bytes)} and fixmap={format_size(built.fixmap_bytes)} contradict"
            f" split {built.split}: the kernel's part is {format_size(4 * GIB - built.page_offset_bytes)} in"
            " all"
        )
