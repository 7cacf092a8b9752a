"""What can be timed, as light data that plans, figures, help texts and the order of cells read.

The classes that do it are imported when something is timed. Another package adds an operation by an entry
point in the group ``p2mperf.operations`` whose value is ``module:attribute``, an `OperationSpec`; its class
derives from `p2mperf.measure.operations.base.Operation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from p2mperf.errors import PluginError
from p2mperf.plugins import Registry, import_target, load

if TYPE_CHECKING:
    from p2mperf.measure.operations.base import Operation
    from p2mperf.preambles import Preamble

PER = ("lookup", "entry", "frame", "leaf", "table")


@dataclass(frozen=True)
class OperationSpec:
    """An operation, as it is declared.

    Attributes
    ----------
    name : str
        As users and results call it.
    target : str
        "module:Class".
    per : str
        What one of it is: a "lookup", an "entry", a "frame", a "leaf" or a whole "table".
    streams : tuple of str or None
        Streams that it is done over, all in RAM; none where it makes whole tables. None: over any stream,
        wherever that goes.
    needs : tuple of str
        What a design must be able to do: names of `p2mperf.designs.capabilities`.
    options : tuple of str
        What a design must be able to be built with.
    has_preamble : bool
        Whether something comes before it that the design's family states; each preamble is a cell.
    keeps_tables : bool
        Whether tables are afterwards what they were; what does not is done last.
    plans : tuple of str
        Plans that measure it without being asked.
    title : str
        What happens.
    titles : mapping of str to str
        The same, over a stream.
    unit, unit_ns : str, float
        Unit that figures show its cost in, and what one is [ns].
    """

    name: str
    target: str
    per: str
    streams: tuple[str, ...] | None = ()
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    has_preamble: bool = False
    keeps_tables: bool = True
    plans: tuple[str, ...] = ()
    title: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    unit: str = "ns"
    unit_ns: float = 1.0

    def serves(self, stream: str, in_ram: bool) -> bool:
        """Tell whether it is done over a stream, of which all frames are in RAM or not."""
        return self.streams is None or (in_ram and stream in self.streams)

    def load(self) -> type[Operation[Any]]:
        """Import the class.

        Raises
        ------
        PluginError
            When the package that offers it has no such class.
        """
        if OPERATIONS.shipped.get(self.name) is self:
            return cast("type[Operation[Any]]", import_target(self.target))
        return cast("type[Operation[Any]]", load("operation", self.name, self.target, _wrong_class))

    def make(self, preamble: Preamble | None = None) -> Operation[Any]:
        """Make the operation of one cell, after what comes before it."""
        kind: Any = self.load()
        made: Operation[Any] = kind(preamble) if self.has_preamble else kind()
        return made


def _wrong_class(kind: object) -> str:
    from p2mperf.measure.operations.base import Operation

    if isinstance(kind, type) and issubclass(kind, Operation):
        return ""
    return "is no class derived from p2mperf.measure.operations.base.Operation"


_ROOM = "p2mperf.measure.operations"
_ALL_PLANS = ("quick", "default", "full", "life", "hap")
_LIFE = ("life",)
_SUPERPAGES = ("full", "life", "hap")

_OPERATIONS = (
    OperationSpec(
        "latency",
        f"{_ROOM}.lookups:Latency",
        "lookup",
        streams=None,
        plans=_ALL_PLANS,
        title="lookups one after the other",
        unit="ns per lookup",
    ),
    OperationSpec(
        "throughput",
        f"{_ROOM}.lookups:Throughput",
        "lookup",
        streams=None,
        plans=_ALL_PLANS,
        title="lookups that overlap",
        unit="ns per lookup",
    ),
    OperationSpec(
        "entry",
        f"{_ROOM}.entry:Entry",
        "entry",
        streams=("uniform", "zipf", "log-uniform"),
        has_preamble=True,
        plans=("default", "full", "hap"),
        title="lookups of a kernel entry",
        unit="ns per entry",
    ),
    OperationSpec(
        "set",
        f"{_ROOM}.writes:SetInPlace",
        "frame",
        streams=("sequential", "uniform", "zipf", "log-uniform", "leaf-stride"),
        needs=("Writable",),
        plans=_LIFE,
        title="set in place",
        titles={"sequential": "set in place, sequential", "uniform": "set in place, uniform"},
        unit="ns per frame",
    ),
    OperationSpec(
        "balloon-down",
        f"{_ROOM}.writes:BalloonDown",
        "frame",
        streams=("sequential",),
        needs=("Ballooned",),
        plans=_LIFE,
        title="balloon down",
        titles={"sequential": "balloon down"},
        unit="ns per frame",
    ),
    OperationSpec(
        "balloon-up",
        f"{_ROOM}.writes:BalloonUp",
        "frame",
        streams=("sequential",),
        needs=("Ballooned",),
        plans=_LIFE,
        title="balloon up",
        titles={"sequential": "balloon up"},
        unit="ns per frame",
    ),
    OperationSpec(
        "cow",
        f"{_ROOM}.breaking:BreakLeaves",
        "leaf",
        streams=("sequential", "uniform"),
        needs=("Writable", "Shared"),
        keeps_tables=False,
        plans=_LIFE,
        title="shared leaf made private",
        titles={"sequential": "shared leaf broken, neighbours", "uniform": "shared leaf broken, alone"},
        unit="us per leaf",
        unit_ns=1e3,
    ),
    OperationSpec(
        "tools",
        f"{_ROOM}.whole_tables:RebuildTools",
        "table",
        needs=("HasTools",),
        plans=_LIFE,
        title="tools' tree rebuilt",
        titles={"whole-table": "tools' tree rebuilt after restore"},
        unit="ms",
        unit_ns=1e6,
    ),
    # A p2m is made at boot, with room for what may be plugged in later: from the domain builder's list, and,
    # to compare, from the map. The tables of other families are not made at one go.
    OperationSpec(
        "rebuild",
        f"{_ROOM}.whole_tables:Rebuild",
        "table",
        needs=("Writable",),
        options=("boot_list",),
        plans=_LIFE,
        title="boot rebuild",
        titles={"whole-table": "boot rebuild from the flat list"},
        unit="ms",
        unit_ns=1e6,
    ),
    OperationSpec(
        "build",
        f"{_ROOM}.whole_tables:Build",
        "table",
        options=("limit",),
        plans=_LIFE,
        title="built from the memory map",
        titles={"whole-table": "built from the memory map"},
        unit="ms",
        unit_ns=1e6,
    ),
    OperationSpec(
        "fault",
        f"{_ROOM}.faults:HandleFaults",
        "frame",
        streams=("sequential", "uniform"),
        needs=("Traceable",),
        title="write fault handled",
        titles={"sequential": "write faults, sequential", "uniform": "write faults, uniform"},
        unit="ns per fault",
    ),
    OperationSpec(
        "protect",
        f"{_ROOM}.faults:ProtectTables",
        "frame",
        needs=("Traceable",),
        title="entries write-protected",
        titles={"whole-table": "all entries write-protected"},
        unit="ns per entry",
    ),
    OperationSpec(
        "restore",
        f"{_ROOM}.faults:RestoreWindow",
        "table",
        needs=("SharesWindow",),
        title="switch to a guest whose window showed another",
        titles={"whole-table": "switch to a guest whose window showed another"},
        unit="us",
        unit_ns=1e3,
    ),
    *(
        OperationSpec(
            name,
            f"{_ROOM}.superpages:{kind}",
            "leaf",
            streams=("sequential", "uniform"),
            needs=("Superpaged",),
            plans=_SUPERPAGES,
            title=title,
            titles={"sequential": f"{title}, neighbours", "uniform": f"{title}, alone"},
            unit="us per superpage",
            unit_ns=1e3,
        )
        for name, kind, title in (
            ("split", "Split", "superpage split"),
            ("populate", "Populate", "memory of a superpage added"),
            ("remove", "Remove", "memory of a superpage removed"),
            ("retype", "Retype", "one frame of a superpage retyped"),
        )
    ),
)


def _wrong(spec: OperationSpec) -> str:
    """What is wrong with an operation of another package, or ""."""
    from p2mperf.designs.capabilities import CAPABILITIES
    from p2mperf.streams import STREAMS

    if spec.per not in PER:
        return f"is done per {spec.per}: take one of {', '.join(PER)}"
    for name in spec.needs:
        if name not in CAPABILITIES:
            return f"needs {name}, which is no capability of designs"
    for name in spec.streams or ():
        if name not in STREAMS:
            return f"is done over {name}, which is no stream"
    return ""


OPERATIONS: Registry[OperationSpec] = Registry(
    "operation", "p2mperf.operations", OperationSpec, {spec.name: spec for spec in _OPERATIONS}, _wrong
)
# By name, in the order in which they are done; those of other packages are among them.
operations = OPERATIONS.sound
find_operation = OPERATIONS.find


def lookups() -> tuple[str, ...]:
    """Names of the operations that are lookups."""
    return tuple(name for name, spec in operations().items() if spec.per == "lookup")


def entries() -> tuple[str, ...]:
    """Names of the operations that are entries into a kernel."""
    return tuple(name for name, spec in operations().items() if spec.per == "entry")


def operations_of(plan: str) -> tuple[str, ...]:
    """Names of the operations that a plan measures without being asked."""
    bad = {spec.name for spec, _ in without_class()}
    return tuple(name for name, spec in operations().items() if plan in spec.plans and name not in bad)


def without_class() -> Iterator[tuple[OperationSpec, str]]:
    """Operations of other packages that are declared well, and their classes are not."""
    for name, spec in operations().items():
        if name not in OPERATIONS.shipped:
            try:
                spec.load()
            except PluginError as error:
                yield spec, str(error)
