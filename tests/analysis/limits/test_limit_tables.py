"""Limits as tables: each row is what `limits` says of it alone."""

from __future__ import annotations

import p2mperf
from p2mperf.analysis.limits.tables import largest_guests, limit_list, limits_by_size
from p2mperf.sizing import CONFIDENCE, limit_names


def test_sizes_are_answered_as_one_by_one() -> None:
    table = limits_by_size(["43G", "400G"])
    asked = [p2mperf.limits(size, entry_bits=bits) for size in ("43G", "400G") for bits in (64, 32)]
    assert table["area_bytes"].tolist() == [answer.area_bytes for answer in asked]
    assert table["fits"].tolist() == [answer.fits for answer in asked]
    assert table["limits"].iloc[3] == ", ".join(asked[3].refused_by)


def test_the_largest_guest_by_area_and_split() -> None:
    table = largest_guests(["32M", "64M", "512M"])
    narrow, even = (table[table["split"] == split] for split in ("3:1", "2:2"))
    assert narrow["vmalloc_bytes"].tolist() == [32 << 20, 64 << 20, 512 << 20]
    # 4 bytes an entry: 32 MiB number 8 Mi pages, 32 GiB; 64 MiB the 64 GiB that a 32-bit kernel takes.
    assert narrow["largest_guest_bytes"].tolist()[:2] == [32 << 30, 64 << 30]
    # A larger area is taken from low memory, of which 2:2 has more.
    assert narrow["largest_guest_bytes"].iloc[2] < even["largest_guest_bytes"].iloc[2]
    assert narrow["binds"].iloc[2] == "low-memory"


def test_all_limits_are_listed() -> None:
    table = limit_list()
    assert table["name"].tolist() == limit_names()
    assert set(table["confidence"]) <= set(CONFIDENCE)
    assert table["source"].str.len().gt(0).all()
    assert table["means"].tolist() == [CONFIDENCE[word] for word in table["confidence"]]
