"""A new limit is one entry, in the package or from another one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from p2mperf import plugins
from p2mperf.errors import BadInputError
from p2mperf.sizing import (
    CONFIDENCE,
    LIMITS,
    SETTINGS,
    SHAPES,
    Limit,
    limit_names,
    limits,
    table,
)
from p2mperf.units import GIB

WIDE: dict[str, Any] = {"entry_bits": 64}


def test_a_new_limit_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Limit(
        "small-pot",
        ("pv64",),
        "pots",
        needed=lambda built, guest_bytes: guest_bytes,
        available=lambda built, guest_bytes: 8 * GIB,
        source="this test",
        confidence="assumed",
    )
    monkeypatch.setitem(LIMITS, small.name, small)
    answer = limits(**WIDE)
    assert answer.binds == ("small-pot",)
    assert answer.largest_guest_bytes == 8 * GIB
    assert limits("9G").refused_by == ("small-pot",)
    assert table(["9G"], widths=(64,))[0]["limits"] == ["small-pot"]
    assert "small-pot" not in {verdict.limit for verdict in limits(without=["small-pot"]).verdicts}


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    """Offers a limit as another package does by an entry point."""

    def add(name: str, limit: object) -> None:
        package = ModuleType("another_package")
        vars(package).update(limit=limit)
        monkeypatch.setitem(sys.modules, package.__name__, package)
        point = EntryPoint(name, "another_package:limit", "p2mperf.limits")
        monkeypatch.setattr(plugins, "offered", lambda group: (point,) if group == point.group else ())

    return add


def small_pot(**facts: Any) -> Limit:
    named: dict[str, Any] = {
        "name": "small-pot",
        "geometries": ("pv64",),
        "unit": "pots",
        "source": "this test",
    }
    sizes: dict[str, Any] = {
        "needed": lambda built, guest_bytes: guest_bytes,
        "available": lambda built, guest_bytes: 8 * GIB,
    }
    return Limit(**{**named, **sizes, "confidence": "assumed", **facts})


def test_another_package_adds_a_limit(offer: Callable[[str, object], None]) -> None:
    offer("small-pot", small_pot())
    assert limit_names() == [*LIMITS, "small-pot"]
    assert limits("9G").refused_by == ("small-pot",)
    assert limits(**WIDE).largest_guest_bytes == 8 * GIB
    assert table(["9G"], widths=(64,))[0]["limits"] == ["small-pot"]
    assert limits("9G", without=["small-pot"]).fits
    assert "small-pot" not in LIMITS


@pytest.mark.parametrize(
    ("limit", "wrong"),
    [
        ("8G", "which is no Limit"),
        (small_pot(name="pot"), "which calls itself pot"),
        (small_pot(geometries=("pv128",)), "which is of geometry pv128; there are pv32, pv64, lpae"),
        (small_pot(confidence="sure"), "which says confidence 'sure', which is none of source, derived"),
        (small_pot(source=""), "which does not say what it counts, or where that was read"),
        (small_pot(needed=8), "which has no arithmetic"),
        (small_pot(needed=lambda built, guest_bytes: 1 // 0), "which cannot be used: integer division"),
        (small_pot(available=lambda built, guest_bytes: "8G"), "which does not count in whole bytes"),
    ],
)
def test_a_broken_limit_of_another_package_is_one_sentence(
    offer: Callable[[str, object], None], limit: object, wrong: str
) -> None:
    expected = limits("400G").binds
    offer("small-pot", limit)
    with pytest.raises(
        BadInputError, match="limit small-pot is declared as another_package:limit"
    ) as refused:
        limits("400G", without=["small-pot"])
    assert wrong in str(refused.value)
    assert limits("400G").binds == expected


def test_registries_are_complete() -> None:
    for limit in LIMITS.values():
        assert limit.confidence in CONFIDENCE
        assert set(limit.geometries) <= set(SHAPES)
        assert limit.source
        assert limit.unit
    for setting in SETTINGS.values():
        assert set(setting.defaults) <= set(SHAPES)
