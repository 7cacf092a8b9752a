"""What others have published on two-dimensional walks: as published, never measured here, nor mixed with it.

Each number stands against its own baseline, on its own machine or simulator; no two of them compare. Of
Xen's own superpages for HAP no benchmark was found in the mails of 2007 to 2010.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published result.

    Attributes
    ----------
    value : str
        The number, as published.
    what : str
        What it is of.
    against : str
        What it was compared with.
    source : str
        Who says so, and where.
    """

    value: str
    what: str
    against: str
    source: str


# Accesses of one walk on average, with walk caches (Park et al.): virtualised, and without a hypervisor.
ACCESSES_WITH_CACHES = 4.4
ACCESSES_NATIVE = 1.5

_BHARGAVA = "Bhargava, Serebrin, Spadini and Manne, ASPLOS 2008, abstract"
_PARK = "Park, Vougioukas, Sandberg and Black-Schaffer, ASPLOS 2022, abstract"
_STOJKOVIC = "Stojkovic, Skarlatos, Kokolis, Xu and Torrellas, ASPLOS 2022, abstract"
_AHN = "Ahn, Jin and Huh, ISCA 2012, abstract; Xen on a full-system simulator"

PUBLISHED = (
    Published("15 to 38 %", "walk cache extended to the host's dimension", "walk cache without", _BHARGAVA),
    Published(
        "3 to 7 %",
        "further: nested translations cached, entries skipped",
        "the extended walk cache",
        _BHARGAVA,
    ),
    Published("3 to 22 %", "further: large pages of the hypervisor", "small ones", _BHARGAVA),
    Published(
        "up to 42 %",
        "nested paging, benchmarks hard on the MMU; microbenchmarks up to 500 %",
        "shadow paging",
        "VMware, March 2009: ESX on third-generation AMD Opterons",
    ),
    Published("7 %", "flat table of the host", "walk cache and nested TLB", _AHN),
    Published("14 %", "speculative shadow paging over a flat table", "walk cache and nested TLB", _AHN),
    Published(
        f"{ACCESSES_WITH_CACHES} accesses",
        "a virtualised walk, on average, with walk caches",
        f"{ACCESSES_NATIVE} without a hypervisor",
        _PARK,
    ),
    Published(
        "7.1 %",
        "flattened tables: 2.8 accesses a virtualised walk",
        f"{ACCESSES_WITH_CACHES} accesses",
        _PARK,
    ),
    Published(
        "1.19x, 1.24x", "hashed tables, on 4 KiB pages and with huge pages", "nested radix tables", _STOJKOVIC
    ),
    Published(
        "15 %",
        "a program of many small random accesses, after a restore to 2 MiB pages",
        "a restore to 4 KiB pages",
        "Xen, September 2025, commit 50baf2d9f7",
    ),
    Published(
        "nearly 2x",
        "unmapping 8 KiB in a HVM Linux that splits no superpage for its shared page",
        "one that does",
        "Linux, commit a5d5f328b0",
    ),
)
