"""Compiled: the loops that make streams.

A frame follows from its place in the stream and the stream's draws alone, so that a stream is the same
however it is cut. Each pattern is one loop that fills `out` from the `at`-th place of the stream on;
`p2mperf.streams` declares it.
"""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.draws_kernels import HALF, NEXT_TRY, Draws, below, high, mixed
from p2mperf.jit import njit

Words = NDArray[np.uint64]
Scatter = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

# What is computed with stays unsigned: one signed word turns uint64 arithmetic into float64.
ZERO, ONE = np.uint64(0), np.uint64(1)
_FIRST = np.int64(1)
_UNIT_SHIFT, _UNIT = np.uint64(11), 2.0**-53  # the 53 bits of a word that a float64 holds
_GROUP_SHIFT, _BYTE, _TWO_BYTES = np.uint64(6), np.uint64(8), np.uint64(16)
# Frames that are made together, in loops that decide nothing, so that LLVM makes them of vectors; they stay
# in the first-level cache meanwhile: in one go over 131072 frames, 12 runs took 2.3 ns a frame for 1.0. Of so
# many runs a search for each frame takes longer than a look at all.
_BLOCK, _FEW_RUNS = 1024, 12


class Ground(NamedTuple):
    """Runs of frames, or of leaves, numbered by rank: their place among themselves.

    Attributes
    ----------
    ends : ndarray of uint64, shape (n_runs,)
        Rank at which each run ends.
    shifts : ndarray of uint64, shape (n_runs,)
        What is added to a rank in it to get the frame or leaf.
    """

    ends: Words
    shifts: Words


class Ram(NamedTuple):
    """What a pattern goes over.

    Attributes
    ----------
    n : uint64
        How many frames; below 2 ** 32.
    spill : uint64
        2 ** 64 modulo n: words that would make some frames more likely are drawn again.
    ground : Ground
        Where they are.
    """

    n: np.uint64
    spill: np.uint64
    ground: Ground


class Leaves(NamedTuple):
    """The pages of a table that hold the entries of RAM.

    Attributes
    ----------
    n_leaves : uint64
        How many.
    leaf_frames, line_frames : uint64
        Entries of a leaf, and of a cache line: powers of two.
    ground : Ground
        Where the leaves are; one that two runs of frames share is the first one's.
    first, last : ndarray of uint64, shape (n_runs,)
        Frames of the run that each run of leaves is of: a leaf at its ends holds others too.
    """

    n_leaves: np.uint64
    leaf_frames: np.uint64
    line_frames: np.uint64
    ground: Ground
    first: Words
    last: Words


class Elsewhere(NamedTuple):
    """What part of a stream leaves RAM, and where it goes.

    Attributes
    ----------
    hole_end, end : uint64
        Where the number of a lookup is below the first, it goes to a hole; else, where it is below the
        second, to an identity frame.
    period : uint64
        Numbers count up to it, and again; 0 where each is drawn below 2 ** 53.
    n, spill, first : ndarray of uint64, shape (2,)
        Of holes and of identity frames: how many there are, as in `Ram`, and the rank of the first one.
    ground : Ground
        Where they are.
    """

    hole_end: np.uint64
    end: np.uint64
    period: np.uint64
    n: Words
    spill: Words
    first: Words
    ground: Ground


@njit(inline="always")
def _run_of(ground: Ground, rank: np.uint64) -> np.uint64:
    """Run that a rank lies in."""
    run, n_runs = ZERO, np.uint64(ground.ends.size)
    while n_runs > ONE:
        half = n_runs >> ONE
        # LLVM 22 makes a jump of the sum all the same, and of a choice, a mask and the sign of a difference
        # too: 4 ns a step where ranks are random.
        run += half * np.uint64(ground.ends[run + half - ONE] <= rank)
        n_runs -= half
    return run


@njit(inline="always")
def _at_rank(ground: Ground, rank: np.uint64) -> np.uint64:
    return rank + ground.shifts[_run_of(ground, rank)]


@njit
def _to_ground(ranks: Words, ground: Ground) -> None:
    """Put a frame, or a leaf, in the place of each rank: `_BLOCK` at most."""
    n_runs = ground.ends.size
    if n_runs > _FEW_RUNS:
        for i in range(ranks.size):
            ranks[i] = _at_rank(ground, ranks[i])
        return
    # Collected apart: each rank is compared with the end of every run, and must not have moved yet.
    shifts = np.full(ranks.size, ground.shifts[0])
    # Run by run, and for each run over all frames: the inner loop is one of vectors. Frame by frame over all
    # runs was 5 to 11 times as slow (9.3 for 0.8 ns a frame with 8 runs).
    for run in range(1, n_runs):
        end, more = ground.ends[run - 1], ground.shifts[run] - ground.shifts[run - 1]
        for i in range(ranks.size):
            shifts[i] += more if ranks[i] >= end else ZERO
    for i in range(ranks.size):
        ranks[i] += shifts[i]


@njit(inline="always")
def _after(rank: np.uint64, n: np.uint64) -> np.uint64:
    # A remainder would be a division: 7.3 for 6.5 ns a frame of `leaf_stride`.
    return rank + ONE if rank + ONE < n else ZERO


@njit(inline="always")
def _scatter(n_frames: np.uint64, draws: Draws) -> Scatter:
    """What `_scattered` needs: the bits of a row's number, how many columns hold all ranks, and two keys."""
    bits = ZERO
    while n_frames >> (bits << ONE):
        bits += ONE
    return bits, ((n_frames - ONE) >> bits) + ONE, mixed(draws.start), draws.gamma


@njit(inline="always")
def _scattered(rank: np.uint64, n_frames: np.uint64, scatter: Scatter) -> np.uint64:
    """Another rank for each rank, anywhere: popular ones must not be neighbours.

    Ranks stand in columns of a power of two. Columns move by what their row says and rows by what their
    column then says, which loses none; what comes to lie beyond the ranks, in the last column, is moved again
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). With a power of two for all ranks up to
    half of them would be moved again, and the branch be mispredicted (21 for 15 ns).
    """
    bits, n_columns, one, other = scatter
    column, row = rank >> bits, rank & ((ONE << bits) - ONE)
    while True:
        column += ((mixed(row + one) >> HALF) * n_columns) >> HALF
        # Both parts are below n_columns, so that it is taken away once at most; a remainder took 3 % longer.
        column -= n_columns * np.uint64(column >= n_columns)
        row = (row + mixed(column + other)) & ((ONE << bits) - ONE)
        if (column << bits) + row < n_frames:
            return (column << bits) + row


@njit
def sequential(out: Words, at: np.uint64, draws: Draws, ram: Ram, leaves: Leaves) -> None:
    """One frame after the other, from a drawn one on, and around.

    Parameters
    ----------
    out : ndarray of uint64, shape (n_lookups,)
        Takes the frames.
    at : uint64
        Place of the first one in the stream.
    draws : Draws
        Words of this stream.
    ram : Ram
        Frames that it goes over.
    leaves : Leaves
        Pages that their entries stand in.
    """
    n_frames, end = ram.n, np.uint64(out.size)
    # Where it begins is drawn from the stream's own start, whatever piece of it this is.
    rank = (below(n_frames, ram.spill, mixed(draws.start)) + at) % n_frames
    done = ZERO
    while done < end:
        # Run by run, so that the inner loop has nothing to decide and LLVM makes it one of vectors.
        run = _run_of(ram.ground, rank)
        first, n = rank + ram.ground.shifts[run], min(ram.ground.ends[run] - rank, end - done)
        for i in range(n):
            out[done + np.uint64(i)] = first + np.uint64(i)
        done += n
        rank = rank + n if rank + n < n_frames else ZERO


@njit
def uniform(out: Words, at: np.uint64, draws: Draws, ram: Ram, leaves: Leaves) -> None:
    """Each frame equally likely.

    Parameters
    ----------
    out, at, draws, ram, leaves
        As `sequential`.
    """
    for start in range(0, out.size, _BLOCK):
        block = out[start : start + _BLOCK]
        state = draws.start + (at + np.uint64(start)) * draws.gamma
        # Unfair words are counted, and not drawn again at once: of a loop with a loop in it LLVM makes no
        # vectors (1.7 ns a frame for 0.4).
        n_spilt: int | np.int_ = 0
        for i in range(block.size):
            word = mixed(state + np.uint64(i) * draws.gamma)
            block[i] = high(ram.n, word)
            n_spilt += word * ram.n < ram.spill
        if n_spilt:  # of all words one in 2 ** 32 at most
            # From the same words: frames that were fair come out as they were.
            for i in range(block.size):
                block[i] = below(ram.n, ram.spill, mixed(state + np.uint64(i) * draws.gamma))
        _to_ground(block, ram.ground)


@njit
def zipf(out: Words, at: np.uint64, draws: Draws, ram: Ram, leaves: Leaves) -> None:
    """Popularity rank k of n has the share 1 / (k * H_n).

    Parameters
    ----------
    out, at, draws, ram, leaves
        As `sequential`.

    Notes
    -----
    Rejection-inversion, Hormann and Derflinger 1996, "Rejection-inversion to generate variates from monotone
    discrete distributions", for the exponent 1, where the integral of the hat is the logarithm. Signed
    numbers turn into floats and back in one instruction, unsigned ones in many.
    """
    scatter, n_frames = _scatter(ram.n, draws), np.int64(ram.n)
    top, bottom = log(n_frames + 0.5), log(1.5) - 1.0
    surely = 2.0 - exp(log(2.5) - 0.5)
    state = draws.start + at * draws.gamma
    for i in range(out.size):
        # Not in blocks: `exp` is called from the C library, and a loop with a call in it is not made of
        # vectors.
        word = mixed(state)
        state += draws.gamma
        while True:
            area = top + (bottom - top) * (np.int64(word >> _UNIT_SHIFT) * _UNIT)
            x = exp(area)
            # Both bounds are for rounding: of 30 million tries none met either.
            k = min(max(np.int64(x + 0.5), _FIRST), n_frames)
            # Of a thousand tries 984 end at the first comparison, which spares them a logarithm (26.0 for
            # 28.6 ns a frame in all); one or two are refused.
            if k - x <= surely or area >= log(k + 0.5) - 1.0 / k:
                break
            word = mixed(word + NEXT_TRY)
        out[i] = _at_rank(ram.ground, _scattered(np.uint64(k) - ONE, ram.n, scatter))


@njit
def log_uniform(out: Words, at: np.uint64, draws: Draws, ram: Ram, leaves: Leaves) -> None:
    """Popularity ranks 1 to k of n have the share log(k + 1) / log(n + 1): each octave of ranks the same.

    Parameters
    ----------
    out, at, draws, ram, leaves
        As `sequential`.
    """
    scatter, n_frames = _scatter(ram.n, draws), np.int64(ram.n)
    octaves = log(n_frames + 1.0)
    state = draws.start + at * draws.gamma
    for i in range(out.size):
        # The bound is for rounding: of 200000 n below 2 ** 32 none met it at the largest draw.
        k = min(np.int64(exp(octaves * (np.int64(mixed(state) >> _UNIT_SHIFT) * _UNIT))), n_frames)
        state += draws.gamma
        out[i] = _at_rank(ram.ground, _scattered(np.uint64(k) - ONE, ram.n, scatter))


@njit
def leaf_stride(out: Words, at: np.uint64, draws: Draws, ram: Ram, leaves: Leaves) -> None:
    """One leaf further each time, each leaf with a cache line of its own, at any entry of that line.

    Parameters
    ----------
    out, at, draws, ram, leaves
        As `sequential`.

    Notes
    -----
    A lap meets each page and one line of it, so that what remains is the cost of pages. The lines of 64
    leaves in a row are all 64 of a page, in the order of a quadratic polynomial modulo a power of two (Rivest
    2001, "Permutation polynomials modulo 2^w"): each set of a cache is met equally often, and the distance
    from leaf to leaf changes, so that no prefetcher finds a stride.
    """
    most_line = leaves.leaf_frames // leaves.line_frames - ONE
    state = draws.start + at * draws.gamma
    rank = (draws.gamma + at) % leaves.n_leaves
    for i in range(out.size):
        run = _run_of(leaves.ground, rank)
        leaf = rank + leaves.ground.shifts[run]
        drawn = mixed(draws.gamma + (leaf >> _GROUP_SHIFT) * NEXT_TRY)
        # Odd, and the bend doubled below: the condition of a permutation, so that no line comes twice in 64
        # leaves.
        slope, bend = drawn | ONE, (drawn >> _BYTE) | ONE
        line = ((drawn >> _TWO_BYTES) + slope * leaf + (bend << ONE) * leaf * leaf) & most_line
        entry = (mixed(state) >> HALF) & (leaves.line_frames - ONE)
        frame = leaf * leaves.leaf_frames + line * leaves.line_frames + entry
        # In a leaf at an end of its run the entry may belong to no frame of it: the nearest one that is
        # stands in.
        out[i] = min(max(frame, leaves.first[run]), leaves.last[run])
        state += draws.gamma
        rank = _after(rank, leaves.n_leaves)


@njit
def divert(out: Words, at: np.uint64, draws: Draws, elsewhere: Elsewhere) -> None:
    """Let shares of a stream go to holes and to identity frames, each of them equally likely.

    Parameters
    ----------
    out : ndarray of uint64, shape (n_lookups,)
        The stream from the `at`-th place on, which is changed.
    at : uint64
        Place of its first frame.
    draws : Draws
        Words of its own: what stays is what it was without shares.
    elsewhere : Elsewhere
        How much, in what pattern, and where to.
    """
    period = elsewhere.period
    numbers, ranks = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    for start in range(0, out.size, _BLOCK):
        block = out[start : start + _BLOCK]
        state = draws.start + (at + np.uint64(start)) * draws.gamma
        for i in range(block.size):
            word = mixed(state + np.uint64(i) * draws.gamma)
            numbers[i] = word >> _UNIT_SHIFT
            # Not of the same word: what is below a small share is a small word, and would give the lowest
            # ranks alone.
            ranks[i] = mixed(word + NEXT_TRY)
        if period:
            place = (draws.start + at + np.uint64(start)) % period
            for i in range(block.size):
                numbers[i] = place
                place = _after(place, period)
        _below_each(ranks[: block.size], numbers, elsewhere)
        _to_ground(ranks[: block.size], elsewhere.ground)
        # A frame is drawn in any case, and then taken or not: no branch depends on what is drawn.
        for i in range(block.size):
            block[i] = ranks[i] if numbers[i] < elsewhere.end else block[i]


@njit
def _below_each(words: Words, numbers: Words, elsewhere: Elsewhere) -> None:
    """Turn what is drawn into ranks, each among holes or identity frames."""
    n_spilt = 0
    n_holes, n_others = elsewhere.n[0], elsewhere.n[1]
    hole_spill, other_spill = elsewhere.spill[0], elsewhere.spill[1]
    first_hole, first_other = elsewhere.first[0], elsewhere.first[1]
    for i in range(words.size):
        is_hole = numbers[i] < elsewhere.hole_end
        # Chosen, not branched on, and drawn again in a second loop only: as in `uniform`.
        n, spill = (n_holes, hole_spill) if is_hole else (n_others, other_spill)
        n_spilt += words[i] * n < spill
    for i in range(words.size):
        is_hole = numbers[i] < elsewhere.hole_end
        n, spill = (n_holes, hole_spill) if is_hole else (n_others, other_spill)
        rank = below(n, spill, words[i]) if n_spilt else high(n, words[i])
        words[i] = rank + (first_hole if is_hole else first_other)
