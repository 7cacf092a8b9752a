"""`populate`: give a HAP guest its memory, and show what its table is made of then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, shown
from p2mperf.populating.policies import POLICIES
from p2mperf.units import format_size

if TYPE_CHECKING:
    from p2mperf.populating.populate import Populated

_SIZES = {0: "4K", 9: "2M", 18: "1G"}

_EPILOG = """\
policies:
{policies}

Memory comes from a host of --machine-memory, through a buddy allocator as Xen's. --fragmentation is the
share of the host's whole 2 MiB blocks of which one frame is somebody else's, so that no extent of 2 MiB can
come from them; --fragmentation-1gb lets these blocks lie in so large a share of the host's whole GiB only.
Which they are follows from --seed. Failed are extents that there was no block for; skipped are those that
nobody tried, as the call that asked for them ended at a failed one. Predicted is what arithmetic says when
nothing fails.

examples:
  python -m p2mperf populate --guest-memory 10G
  python -m p2mperf populate --guest-memory 10G --fragmentation 0.3 --policy opportunistic
  python -m p2mperf populate --guest-memory 10G --policy builder-2010-04-22 --json
  python -m p2mperf populate --guest-memory 64G --no-hap-2mb --no-hap-1gb
"""


def main(argv: list[str]) -> int:
    """Show leaves, tables and failures on stdout."""
    arguments = command_parser().parse_args(argv)
    from p2mperf.populating.populate import populate

    with Waiting(f"populating {arguments.guest_memory} by {arguments.policy}", arguments.quiet):
        found = populate(
            arguments.guest_memory,
            arguments.policy,
            fragmentation=_share(arguments.fragmentation, "--fragmentation") or 0.0,
            fragmentation_1gb=_share(arguments.fragmentation_1gb, "--fragmentation-1gb"),
            hap_1gb=not arguments.no_hap_1gb,
            hap_2mb=not arguments.no_hap_2mb,
            device_model=not arguments.no_device_model,
            demand_4k=arguments.demand_4k,
            machine_memory=arguments.machine_memory,
            seed=arguments.seed,
        )
        plain = found.to_dict()  # it counts
    if arguments.json:
        show.data(plain)
    else:
        show.write(_as_text(found))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    policies = "\n".join(f"  {name:19} {policy.meaning}" for name, policy in POLICIES.items())
    parser = make_parser(
        "populate",
        "Give a guest its memory as Xen's builder does, and show the leaves and pages of its HAP table.",
        _EPILOG.format(policies=policies),
    )
    parser.add_argument("--guest-memory", required=True, metavar="SIZE", help="memory of the guest")
    parser.add_argument("--policy", default="builder", metavar="NAME", help="as below; default: builder")
    parser.add_argument(
        "--fragmentation",
        metavar="SHARE",
        help="of the host's 2 MiB blocks that are broken, 0 to 1; default: 0",
    )
    parser.add_argument(
        "--fragmentation-1gb", metavar="SHARE", help="of its 1 GiB blocks they lie in; default: anywhere"
    )
    parser.add_argument("--no-hap-1gb", action="store_true", help="no leaves of 1 GiB; extents are the same")
    parser.add_argument("--no-hap-2mb", action="store_true", help="no leaves of 2 MiB; extents are the same")
    parser.add_argument("--no-device-model", action="store_true", help="a PVH guest: it has no VGA hole")
    parser.add_argument(
        "--demand-4k", action="store_true", help="the hint that single frames are wanted, for opportunistic"
    )
    parser.add_argument("--machine-memory", metavar="SIZE", help="of the host; default: a quarter more")
    parser.add_argument("--seed", type=int, default=1, help="which blocks are broken; default: 1")
    parser.add_argument(
        "--json", action="store_true", help="print JSON; sizes in bytes, counts by order or level"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _share(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"{option} takes a share from 0 to 1, as 0.3, not {shown(text)}") from None


def _as_text(found: Populated) -> str:
    heads = ("leaves", "there are", "predicted", "extents allocated", "failed", "skipped")
    counts = (found.leaves, found.predicted.leaves, found.allocated, found.failed, found.skipped)
    rows = [(size, *(each[order] for each in counts)) for order, size in _SIZES.items()]
    pages = [
        (f"L{level}", *both)
        for level, both in enumerate(zip(found.tables, found.predicted.tables, strict=True), start=1)
    ]
    pages.append(("all", found.tables.n_pages, found.predicted.tables.n_pages))
    memory, host = format_size(found.guest_bytes), format_size(found.machine.n_frames << 12)
    lines = [
        f"{memory} by {found.policy}, from a host of {host} with {found.n_broken_2mb} broken blocks of 2M and"
        f" {found.n_broken_1gb} of 1G",
        "",
        show.text_table(heads, rows),
        "",
        show.text_table(("table pages", "there are", "predicted"), pages),
        "",
        f"{found.extents.n_frames} frames: table {found.tables.n_bytes} bytes, m2p {found.m2p_bytes} bytes",
    ]
    return "\n".join(lines)
