"""An operation, as it is declared: light, for it is imported wherever operations are listed."""

from p2mperf.measure.operations.registry import OperationSpec

STAMP = OperationSpec(
    "stamp",
    "toy_family.stamp:Stamp",
    per="frame",
    streams=("uniform",),
    needs=("Writable",),
    title="an entry written and put back",
    unit="ns per frame",
)
