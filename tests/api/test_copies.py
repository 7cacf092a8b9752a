"""Whatever owns raw memory is one of its kind: no copy of it can be made, closed or dropped."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import p2mperf
from p2mperf.errors import P2mperfError
from p2mperf.guests.guest import Guest
from p2mperf.migration.tracing import Tracer

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}
PV = ("pv-tree", "pv-linear", "pv-linear-nested")
ARM = ("arm-walk", "arm-walk-thrashing", "arm-walk-direct", "arm-vlpt")
HAP = ("hap-walk", "hap-linear")
GEOMETRIES = {**dict.fromkeys(ARM, "lpae"), **dict.fromkeys(HAP, "hap64")}


@pytest.fixture(params=[*PV, *ARM, *HAP])
def p2m(request: pytest.FixtureRequest) -> Iterator[Any]:
    geometry = GEOMETRIES.get(request.param, "pv64")
    with p2mperf.build(request.param, Guest.plain("64M", geometry=geometry)) as built:
        yield built


def _owners(p2m: Any) -> list[Any]:
    """Everything public that a user can get hold of and that has addresses."""
    names = ["pool", "window", "m2p", "tools", "store", "way_back", "life", "list_tables"]
    names += ["table", "domain", "slots", "windows"]
    found = [getattr(p2m, name) for name in names if hasattr(type(p2m), name) or name in vars(p2m)]
    return [p2m, *found, *([Tracer(p2m)] if p2m.family == "arm" else [])]


@pytest.mark.parametrize("way", WAYS)
def test_what_owns_memory_is_not_copied(p2m: Any, way: str) -> None:
    before = p2m.lookup([0, 1, 524288]).tolist()
    for owner in _owners(p2m):
        with pytest.raises(P2mperfError, match="cannot be copied or pickled") as refused:
            WAYS[way](owner)
        assert "\n" not in str(refused.value)
    # A copy that was made halfway would unmap on its way out.
    gc.collect()
    assert p2m.lookup([0, 1, 524288]).tolist() == before
    p2m.audit()
