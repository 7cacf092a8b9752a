"""Compiled: words of memory as signed numbers, at the addresses of arrays that somebody else keeps.

Addresses, not arrays: numba counts references to an array that is taken out of a tuple (four fifths of a loop
that maps pages), and each array is seven arguments of each function that it is handed to.
"""

from __future__ import annotations

import numpy as np

from p2mperf.jit import njit
from p2mperf.memory.raw import (
    Number,
    load_number8 as get_byte,
    load_number32 as get,
    load_number64 as get_wide,
    store_number8 as put_byte,
    store_number32 as put,
    store_number64 as put_wide,
)

__all__ = ["add", "add_wide", "get", "get_byte", "get_wide", "put", "put_byte", "put_wide"]


# Load, add and store: one thread goes through a recording, nobody else has its words. Both are written into
# all who call them (go_through's machine code has no call of either).
@njit
def add(address: np.uint64, at: Number, more: Number) -> None:
    """Add to one of an array of 32-bit words.

    Parameters
    ----------
    address : uint64
        Where the array begins.
    at : int
        Which word.
    more : int
        What is added.
    """
    put(address, at, get(address, at) + more)


@njit
def add_wide(address: np.uint64, at: Number, more: Number) -> None:
    """Add to one of an array of 64-bit words.

    Parameters
    ----------
    address : uint64
        Where the array begins.
    at : int
        Which word.
    more : int
        What is added.
    """
    put_wide(address, at, get_wide(address, at) + more)
