"""Loads and stores at raw addresses, in the form the kernels use them.

A load is READ_ONCE (include/linux/compiler.h): LLVM's monotonic atomic load, which becomes one plain mov
that the vectoriser neither widens, drops nor repeats. With ordinary loads LLVM turned one design into
gathers and the other not, which compared compilers instead of tables.

Beside them what times and disturbs single loads: a time stamp that waits for them, and mprotect; and what
shows a page elsewhere, mmap and madvise.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from p2mperf.jit import types, walk_overload

if TYPE_CHECKING:
    from numba.core.base import BaseContext
    from numba.core.typing import Context
    from numba.core.typing.templates import Signature

    # What an intrinsic gives numba: its types, and what writes its code.
    Intrinsic = tuple[
        Signature, Callable[[BaseContext, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]
    ]

Word = np.uint64  # where a signature has many
# How reads are noted: not at all by (), in an array, or in a tuple of arrays that has a `load64` of its own.
Probe = NDArray[np.uint64] | tuple[NDArray[np.uint64], ...]
# A uint64 in compiled code: there what counts a range of them is one, too, which is an int to type checkers.
Counted = np.uint64 | int
# An int64 in compiled code, whichever Python has.
Number = np.int64 | int
# Addresses first.
LoadOnce = Callable[[np.uint64], np.uint64]
LoadElement = Callable[[np.uint64, Counted], np.uint64]
StoreOnce = Callable[[np.uint64, np.uint64], None]
StoreElement = Callable[[np.uint64, Counted, np.uint64], None]
LoadNumber = Callable[[np.uint64, Number], int]
StoreNumber = Callable[[np.uint64, Number, Number | np.uint32 | np.bool_], None]


class Load(Protocol):
    """`load64` or `load32`, for walks that are written for both."""

    def __call__(self, probe: Probe, address: np.uint64, index: np.uint64 = ..., /) -> np.uint64:
        """Read a word."""


_WORD = ir.IntType(64)
ZERO, ONE = np.uint64(0), np.uint64(1)


def _element(builder: ir.IRBuilder, kind: ir.IntType, address: ir.Value, index: ir.Value) -> ir.Value:
    # As an element of an array, not at a sum: LLVM would merge the index's own shift with this one into
    # a shift and a mask, where the processor scales an index for nothing (4 % of a tree walk).
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index], source_etype=kind)


def _make_load(bits: int) -> tuple[LoadOnce, LoadElement]:
    kind = ir.IntType(bits)

    def read(builder: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
        place = _element(builder, kind, address, index)
        value = builder.load_atomic(place, "monotonic", bits // 8, typ=kind)
        return value if bits == 64 else builder.zext(value, _WORD)

    @intrinsic
    def load_once(typingctx: Context, address: types.Type) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            return read(builder, args[0], _WORD(0))

        return types.uint64(types.uint64), generate

    @intrinsic
    def load_element(typingctx: Context, address: types.Type, index: types.Type) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            return read(builder, *args)

        return types.uint64(types.uint64, types.uint64), generate

    return load_once, load_element


def _make_store(bits: int) -> tuple[StoreOnce, StoreElement]:
    kind = ir.IntType(bits)

    def write(
        context: BaseContext, builder: ir.IRBuilder, address: ir.Value, index: ir.Value, value: ir.Value
    ) -> ir.Value:
        word = value if bits == 64 else builder.trunc(value, kind)
        builder.store_atomic(word, _element(builder, kind, address, index), "monotonic", bits // 8)
        return context.get_dummy_value()

    @intrinsic
    def store_once(typingctx: Context, address: types.Type, value: types.Type) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            return write(context, builder, args[0], _WORD(0), args[1])

        return types.void(types.uint64, types.uint64), generate

    @intrinsic
    def store_element(
        typingctx: Context, address: types.Type, index: types.Type, value: types.Type
    ) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            return write(context, builder, *args)

        return types.void(types.uint64, types.uint64, types.uint64), generate

    return store_once, store_element


def _make_number(bits: int, is_signed: bool) -> tuple[LoadNumber, StoreNumber]:
    """A load and a store of plain numbers: the index and what is read are int64, and no atomic access.

    Signed, as a number that numba finds to be uint64 here and int64 there becomes float64. Nothing that reads
    them is timed as a table's lookup: LLVM may join and drop accesses.
    """
    kind = ir.IntType(bits)

    @intrinsic
    def load_number(typingctx: Context, address: types.Type, index: types.Type) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            value = builder.load(_element(builder, kind, *args), typ=kind, align=bits // 8)
            widen = builder.sext if is_signed else builder.zext
            return value if bits == 64 else widen(value, _WORD)

        return types.int64(types.uint64, types.int64), generate

    @intrinsic
    def store_number(
        typingctx: Context, address: types.Type, index: types.Type, value: types.Type
    ) -> Intrinsic:
        def generate(
            context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
        ) -> ir.Value:
            word = args[2] if bits == 64 else builder.trunc(args[2], kind)
            builder.store(word, _element(builder, kind, args[0], args[1]), align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, types.int64), generate

    return load_number, store_number


@intrinsic
def unlikely(typingctx: Context, condition: types.Type) -> Intrinsic:
    """Tell LLVM which way a branch goes, as the kernel's unlikely() does; compiled code only.

    Without it LLVM laid a tree walk out with two taken branches, where gcc has none (6 % of its rate).
    """

    def generate(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        bit = ir.IntType(1)
        expect = builder.module.declare_intrinsic("llvm.expect", [bit], ir.FunctionType(bit, [bit, bit]))
        return builder.call(expect, [args[0], bit(0)])

    return types.boolean(types.boolean), generate


@intrinsic
def _processor_ticks(typingctx: Context) -> Intrinsic:
    """Read x86's counter: rdtscp waits for all that came before, lfence keeps back what comes after."""

    def generate(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        def call(name: str, result: ir.Type) -> ir.Value:
            return builder.call(builder.module.declare_intrinsic(name, (), ir.FunctionType(result, [])), [])

        stamp = call("llvm.x86.rdtscp", ir.LiteralStructType([_WORD, ir.IntType(32)]))
        call("llvm.x86.sse2.lfence", ir.VoidType())
        return builder.extract_value(stamp, 0)

    return types.uint64(), generate


@intrinsic
def _clock_ticks(typingctx: Context) -> Intrinsic:
    """Read the clock of the system, between fences: for processors without a counter of ours [ns]."""

    def generate(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
    ) -> ir.Value:
        number = ir.IntType(32)
        time = builder.alloca(ir.LiteralStructType([_WORD, _WORD]))
        signature = ir.FunctionType(number, [number, time.type])
        # A module may read the clock twice, and declare a function once.
        clock = builder.module.globals.get("clock_gettime") or ir.Function(
            builder.module, signature, "clock_gettime"
        )
        builder.fence("seq_cst")
        builder.call(clock, [number(CLOCK_MONOTONIC), time])
        builder.fence("seq_cst")
        seconds, rest = (builder.load(builder.gep(time, [number(0), number(at)])) for at in (0, 1))
        return builder.add(builder.mul(seconds, _WORD(10**9)), rest)

    return types.uint64(), generate


CLOCK_MONOTONIC = 1
# A time stamp that loads before it are finished for, and loads after it wait for; in a unit of its own, which
# a longer time tells. Compiled code only.
ticks: Callable[[], np.uint64] = _processor_ticks if platform.machine() == "x86_64" else _clock_ticks
# Functions of the C library by name: with their addresses, which ctypes gives, numba keeps no code on disk.
# int mprotect(address, bytes, protection), from compiled code: 0 when it was done.
protect: Callable[[np.uint64, np.uint64, np.intc], np.intc] = types.ExternalFunction(
    "mprotect", types.intc(types.uint64, types.uint64, types.intc)
)
# void *mmap(address, bytes, protection, flags, fd, offset): all ones when it was not done.
map_memory: Callable[[np.uint64, np.uint64, np.intc, np.intc, np.intc, np.int64], np.uint64] = (
    types.ExternalFunction(
        "mmap",
        types.uint64(types.uint64, types.uint64, types.intc, types.intc, types.intc, types.int64),
    )
)
# int madvise(address, bytes, advice), from compiled code: 0 when it was done.
advise_memory: Callable[[np.uint64, np.uint64, np.intc], np.intc] = types.ExternalFunction(
    "madvise", types.intc(types.uint64, types.uint64, types.intc)
)

_: object  # what nobody asks for
load_once64, load_element64 = _make_load(64)
_, load_element32 = _make_load(32)
_, load_element8 = _make_load(8)
store_once64, store_element64 = _make_store(64)
_, store_element32 = _make_store(32)
_, store_element8 = _make_store(8)
load_number64, store_number64 = _make_number(64, is_signed=True)
load_number32, store_number32 = _make_number(32, is_signed=True)
load_number8, store_number8 = _make_number(8, is_signed=False)


def load64(probe: Probe, address: np.uint64, index: np.uint64 = ZERO) -> np.uint64:
    """Read the 8-byte word at `address`, or the one `index` words further; compiled code only.

    Parameters
    ----------
    probe : empty tuple, ndarray of uint64 or tuple of such
        ``()`` compiles to the bare load. An array records: element 0 counts the loads, and the following
        elements receive their addresses in order, as far as they fit.
    address : uint64
        Address in this process, a multiple of 8 [bytes].
    index : uint64
        Which word of an array that begins there.

    Returns
    -------
    uint64
        The word.
    """
    raise NotImplementedError("load64 is for compiled code")


def load32(probe: Probe, address: np.uint64, index: np.uint64 = ZERO) -> np.uint64:
    """Read a 4-byte word as uint64.

    Parameters
    ----------
    probe, address, index
        As `load64`, in words of 4 bytes.

    Returns
    -------
    uint64
        The word.
    """
    raise NotImplementedError("load32 is for compiled code")


def _overload_load(stub: Load, load_element: LoadElement, word_bytes: int) -> None:
    shift = np.uint64(word_bytes.bit_length() - 1)

    @walk_overload(stub)
    def implement(
        probe: types.Type, address: types.Type, index: types.Type = ZERO
    ) -> Callable[..., np.uint64] | None:
        if isinstance(probe, types.BaseTuple) and len(probe) == 0:
            return lambda probe, address, index=ZERO: load_element(address, index)
        if isinstance(probe, types.Array):

            def recorded(probe: NDArray[np.uint64], address: np.uint64, index: np.uint64 = ZERO) -> np.uint64:
                probe[0] += ONE
                # Cast: a size is an int64, which numba compares with a uint64 as floats.
                if probe[0] < np.uint64(probe.size):
                    probe[probe[0]] = address + (index << shift)
                return load_element(address, index)

            return recorded
        return None


_overload_load(load64, load_element64, 8)
_overload_load(load32, load_element32, 4)
