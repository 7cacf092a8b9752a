"""Streams as a build's, made up: anonymous faults over frames that lie as recorded ones do."""

from __future__ import annotations

import numpy as np

from p2mperf.workload.translation_stream import M2P_ITEM, Entered, TranslationStream

# handle_mm_fault of Linux 3.18 with transparent huge pages configured, in its order: m2p lookups of the pud
# and pmd page and of the pte page (pmd_trans_huge twice, pte_offset_map); mk_pte of the data; pte_lockptr
# and pte_offset_map; set_pte_at.
PUD, PMD, PTE, DATA = range(4)
ASKED: tuple[tuple[int, bool], ...] = (
    (PUD, True),
    (PMD, True),
    (PTE, True),
    (PTE, True),
    (PTE, True),
    (DATA, False),
    (PTE, True),
    (PTE, True),
)
ASKED += ((PTE, False),)
N_M2P, N_P2M = 7, 9


def fault_stream(n_entries: int, n_frames: int, seed: int = 1, n_exits: int = 0) -> TranslationStream:
    """Make a stream of faults, some of them replaced by exits that ask the m2p for each of 40 frames.

    Parameters
    ----------
    n_entries, n_exits : int
        Entries, and how many of them are exits, at equal distances.
    n_frames : int
        Frames of the guest.
    seed : int
        Seed of the frames.
    """
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, n_frames, 3000)  # some hundred processes' page-table pages, met again and again
    frames = np.stack(
        [
            tables[rng.integers(0, 100, n_entries)],
            tables[rng.integers(100, 400, n_entries)],
            tables[rng.integers(400, 3000, n_entries)],
            rng.integers(0, n_frames, n_entries),
        ],
        axis=1,
    ).astype(np.uint32)
    flags = np.uint32(M2P_ITEM)
    fault = np.stack([frames[:, which] | (flags if m2p else np.uint32(0)) for which, m2p in ASKED], axis=1)
    exits = np.linspace(0, n_entries - 1, n_exits).astype(int)
    pieces = list(fault)
    for at in exits:
        pieces[at] = rng.integers(0, n_frames, 40).astype(np.uint32) | flags
    entered = np.full(n_entries, Entered.ANONYMOUS_WRITE, np.uint8)
    entered[exits] = Entered.EXIT
    return TranslationStream(
        np.concatenate(pieces),
        np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64),
        entered,
        rng.choice([2_000, 4_000, 14_000, 33_000], n_entries).astype(np.uint32),
        n_frames,
        True,
    )
