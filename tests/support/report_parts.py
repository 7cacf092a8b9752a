"""A report of few parts: all figures take a minute, and all claims as long as the tables that they build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest

import p2mperf.figures
from p2mperf.figures.spec import one_panel

# One that is measured, and one that is computed.
FIGURES = {
    "ratio": "p2mperf.figures.lookups.ratio:FIGURE",
    "limit-area": "p2mperf.figures.limits.area:FIGURE",
}
CLAIM = {
    "claim": "one shift is enough",
    "document": "A thread <2013>",
    "section": "first message",
    "published": "1 shift",
    "ours": "1 shift",
    "kind": "computed",
    "verdict": "reproduced",
    "why": "it is",
    "command": "python -m p2mperf plot arm-shift",
}


@contextmanager
def few_parts() -> Iterator[None]:
    """Let reports have one claim and two figures, without much in them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, target in FIGURES.items():
            spec = p2mperf.figures.find(name)
            plain = replace(
                spec,
                panels=one_panel,
                panel_size=None,
                draw=lambda table, ax: ax.set_axis_off(),
                finding=None,
            )
            if not spec.measured:
                plain = replace(plain, data=lambda frame: pd.DataFrame({"size": [1]}))
            patch.setattr(target.replace(":", "."), plain)
        patch.setattr("p2mperf.report.build.figures", lambda: FIGURES)
        patch.setattr("p2mperf.report.build.claims", lambda results=None: pd.DataFrame([CLAIM]))
        yield
