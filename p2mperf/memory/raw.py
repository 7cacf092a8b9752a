"""Loads and stores at raw addresses, in the form the kernels use them.

A load is READ_ONCE (include/linux/compiler.h): LLVM's monotonic atomic load, which becomes one plain mov
that the vectoriser neither widens, drops nor repeats. With ordinary loads LLVM turned one design into
gathers and the other not, which compared compilers instead of tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from p2mperf.jit import types, walk_overload

_WORD = ir.IntType(64)
ONE = np.uint64(1)


def _make_load(bits: int) -> Any:
    @intrinsic
    def load_word(typingctx, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            kind = ir.IntType(bits)
            pointer = builder.inttoptr(args[0], kind.as_pointer())
            value = builder.load_atomic(pointer, "monotonic", bits // 8)
            return value if bits == 64 else builder.zext(value, _WORD)

        return types.uint64(types.uint64), generate

    return load_word


def _make_store(bits: int) -> Any:
    @intrinsic
    def store_word(typingctx, address, value):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            kind = ir.IntType(bits)
            pointer = builder.inttoptr(args[0], kind.as_pointer())
            word = args[1] if bits == 64 else builder.trunc(args[1], kind)
            builder.store_atomic(word, pointer, "monotonic", bits // 8)
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64), generate

    return store_word


load_once64 = _make_load(64)
load_once32 = _make_load(32)
store_once64 = _make_store(64)
store_once32 = _make_store(32)


def load64(probe: Any, address: Any) -> Any:
    """Read the 8-byte word at `address`; compiled code only.

    Parameters
    ----------
    probe : empty tuple or ndarray of uint64
        ``()`` compiles to the bare load. An array records: element 0 counts the loads, and the following
        elements receive their addresses in order, as far as they fit.
    address : uint64
        Address in this process, a multiple of 8 [bytes].

    Returns
    -------
    uint64
        The word.
    """
    raise NotImplementedError("load64 is for compiled code")


def load32(probe: Any, address: Any) -> Any:
    """Read the 4-byte word at `address` as uint64; otherwise as `load64`."""
    raise NotImplementedError("load32 is for compiled code")


def _overload_load(stub: Any, load_word: Any) -> None:
    @walk_overload(stub)
    def implement(probe, address):  # type: ignore[no-untyped-def]
        if isinstance(probe, types.BaseTuple) and len(probe) == 0:
            return lambda probe, address: load_word(address)
        if isinstance(probe, types.Array):

            def recorded(probe, address):  # type: ignore[no-untyped-def]
                probe[0] += ONE
                if probe[0] < np.uint64(probe.size):
                    probe[probe[0]] = address
                return load_word(address)

            return recorded
        return None


_overload_load(load64, load_once64)
_overload_load(load32, load_once32)
