"""What figures of a kernel build are drawn from: what is handed over, or what is shipped; and their words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from p2mperf.analysis.kernel_build import KernelBuild
from p2mperf.errors import BadInputError, shown
from p2mperf.figures.spec import Source
from p2mperf.shipped import shipped
from p2mperf.workload.replays import Replays
from p2mperf.workload.translation_stream import Entered

_TITLES = {
    Entered.ANONYMOUS_WRITE: "anonymous write",
    Entered.ZERO_READ: "read of the zero page",
    Entered.PRIVATE_FILE_WRITE: "write to a private file page",
    Entered.FILE_READ: "read of a file, its neighbours mapped",
    Entered.ZERO_PAGE_WRITE: "write to the zero page",
    Entered.COPY_ON_WRITE: "copy on write",
    Entered.REUSE: "write to a page of its own",
    Entered.UNCLASSIFIED: "not classified",
    Entered.FORK: "fork",
    Entered.EXEC: "exec",
    Entered.EXIT: "exit",
    Entered.MUNMAP: "munmap",
    Entered.MPROTECT: "mprotect",
    Entered.SWITCH: "switch of address spaces",
}


def class_title(name: str) -> str:
    """What a class of entries is called in figures.

    Parameters
    ----------
    name : str
        Name of an `Entered`; another stands for itself.
    """
    return _TITLES[Entered[name]] if name in Entered.__members__ else plainly(name)


def plainly(text: str) -> str:
    """Let a text of somebody else be drawn as it stands: between two dollars matplotlib reads a formula."""
    return text.replace("$", r"\$")


def machine_note(card: Mapping[str, object]) -> str:
    """Say where something was measured, as far as a machine card tells."""
    where = f"measured on {card.get('cpu_model') or 'an unnamed processor'}"
    where += ", in a virtual machine" if card.get("hypervisor") else ""
    return plainly(f"{where}, Linux {card.get('kernel_release') or 'unknown'}")


def take_replays(given: object) -> Replays:
    """Take replays: those that ship with p2mperf, or those that are given."""
    if given is None:
        return _shipped_replays()
    if not isinstance(given, Replays):
        raise BadInputError(f"replays are wanted, not {shown(given)}: `p2mperf.replay` makes some")
    return given


@cache
def _shipped_replays() -> Replays:
    return Replays.from_json(json.loads(shipped("shipped-replays").read_text("utf-8")))


def take_build(given: object) -> KernelBuild:
    """Take what a kernel build came to: by what ships with p2mperf, or as it is given."""
    if not isinstance(given, KernelBuild):
        raise BadInputError(f"a kernel build is wanted, not {shown(given)}: `p2mperf.kernel_build` gives one")
    return given


BUILD = Source("build", take_build)
REPLAYS = Source("replays", take_replays)
