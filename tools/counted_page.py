"""Blocks of docs/configurations.md, counted and not timed: `readme.py` writes them into the page."""

from __future__ import annotations

from itertools import product

import p2mperf
from p2mperf.designs.pv.scenarios import SCENARIOS
from p2mperf.guests.presets import PRESETS

_DESIGNS = ("pv-tree", "pv-linear")
_LIFE_GUESTS = ("domu-64-8g", "domu-32-8g")


def configurations() -> str:
    """Build every preset by both designs and count: predicted and counted pages side by side."""
    lines = [
        "| guest | boot pages | design | leaves | other | mappings | predicted = counted | audit |",
        "|---|---:|---|---:|---:|---:|---|---|",
    ]
    for name in PRESETS:
        guest = p2mperf.Guest.preset(name)
        for design in _DESIGNS:
            with p2mperf.build(design, guest) as p2m:
                counted = p2m.footprint()
                predicted = type(p2m).predict_footprint(guest)
                p2m.audit()
            same = {k: n for k, n in predicted.pages.items() if n} == counted.pages
            leaves = counted.pages["leaf"]
            lines.append(
                f"| {name} | {guest.n_boot_pages} | {design} | {leaves} | {counted.n_pages - leaves} "
                f"| {counted.n_vmas} | {sum(predicted.pages.values())} {'=' if same else 'is not'} "
                f"{counted.n_pages} | holds |"
            )
    return "\n".join(lines)


def life_configurations() -> str:
    """Let every scenario happen to both domUs in both designs: what all its steps together took."""
    lines = [
        "| guest | scenario | design | steps as they must be | frames | pages | mappings | leaves broken "
        "| mids broken | audit |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for names in product(_LIFE_GUESTS, SCENARIOS, _DESIGNS):
        steps = p2mperf.life(*names)
        first, last, total = steps.iloc[0], steps.iloc[-1], steps.sum(numeric_only=True)
        lines.append(
            f"| {' | '.join(names)} | {(steps['done'] == steps['wanted']).sum()} of {len(steps)} "
            f"| {total['n_frames']} | {first['pages_before']} -> {last['pages_after']} "
            f"| {first['mappings_before']} -> {last['mappings_after']} "
            f"| {total['n_leaves_broken']} | {total['n_mids_broken']} | holds |"
        )
    return "\n".join(lines)


BLOCKS = {"configurations": configurations, "life-configurations": life_configurations}
