"""Hostile values, as expressions: what is printed as a reproducer is what was run."""

from __future__ import annotations

import array
import datetime
import decimal
import fractions
import os
import re
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
from outcomes import Own

Pools = Mapping[str, tuple[str, ...]]
_HOLE = re.compile(r"\?(\w*)")


def expressions(table: str) -> tuple[str, ...]:
    """Expressions that stand in a table, two spaces or more apart."""
    return tuple(re.split(r"\s{2,}", table.strip()))


SCALARS = expressions(r"""
    0  1  -1  5  511  512  1023  1024  4095  4096  2**21  2**28  2**31  2**32  2**40  -2**40  2**52  2**62
    2**62 | 5  2**63 - 1  2**63  2**63 | 5  2**64 - 1  2**64  -2**63  2**70  -2**70  10**400  10**5000
    1.5  -0.0  1e300  nan  inf  -inf  True  False  None  1j  b'abc'  Ellipsis  object()  int  len
    ''  'x'  '5'  '64M'  '\udcff'  '\0'  '$x_{$'  'x' * 100000
    np.uint64(5)  np.int8(3)  np.int64(-1)  np.uint64(2**63)  np.float64(4096)  np.float16(1)
    np.longdouble(1)
    np.bool_(True)  np.datetime64('2020-01-01')  np.timedelta64(1, 's')  np.array(5)  np.array([5])
    Decimal(1)  Fraction(1, 2)  date(2020, 1, 1)  Index()  Evil()  Mute()  pd.NA  pd.Timestamp(5)
    {}  {1: 2}  {1, 2}  ()  []  [[]]  [[], []]  range(5)  slice(1)
""")
ARRAYS = expressions(r"""
    [1, 2]  [[1, 2], [3, 4]]  [[1], [2, 3]]  [-1]  [0, 2**63, 2**64 - 1]  [2**64]  [1.5]  [None]  ['x']
    [nan]  [True]  [2**62 | 5, 2**63 | 5]  [1, 2**63 + 5]  [2**63, 1.5]  ['1' * 10000]  [Evil()]  [Index()]
    np.arange(5)  np.arange(0)  np.zeros((0, 3))  np.arange(20)[::3]  np.arange(20)[::-1]  np.arange(-3, 3)
    np.arange(5, dtype='>u8')  np.arange(5, dtype='u1')  np.arange(5.0)  np.array([nan, inf])
    np.array([1, 'x'], object)  np.array([1, 2**63], object)  np.array([-1], object)
    np.array([[1], [2, 3]], object)  np.zeros(3, bool)  np.array(['1'])  np.array(['2020-01-01'], 'M8[D]')
    np.array([1], 'm8[s]')  np.array([1j])  np.zeros(2, [('a', 'u8')])  np.uint64(3)  np.array(3)
    np.array(3.5)  np.zeros((2, 3, 4), int)  np.asfortranarray(np.arange(6).reshape(2, 3))
    frozen(np.arange(5))  mapped([1, 2, 3])  np.broadcast_to(np.uint64(3), (100, 100))
    np.ma.array([1, 2], mask=[0, 1])  np.matrix([[1, 2]])  np.rec.array([(1,)], dtype=[('a', 'u8')])
    memoryview(b'12345678')  bytearray(b'12345678')  array('Q', [1, 2])  array('d', [1.5])  iter([1])
    (i for i in range(3))  deep(40)  deep(200)  itself()  np.array([b'x'], 'S1')  np.array(['a'], 'U')
    as_strided(np.arange(3), (5,), (0,))  np.array([2**63], 'u8')  np.full(3, 2**64 - 1, 'u8')
    unaligned(5)  np.array([], object)  np.zeros((1, 0, 1), 'u8')  pd.Series([1, 2])
    pd.array([1, None], dtype='Int64')  pd.DataFrame({'a': [1]})  pd.Index([1, 2])  pd.Series([2**63])
""")
# For places where a name, a size or a path belongs.
TEXTS = expressions(r"""
    ''  ' '  'nope'  'pv-tree '  'PV-TREE'  '\udcff'  'a\0b'  'a\nb'  '$\\frac{$'  '/'  'x' * 300
    'x' * 100000  '\u0663G'  '-1'  '0'  '1e9'  'nan'  '10T'  '1' * 5000  '9' * 20 + 'T'  '4097'  '1..5G'
    '64M\n'  '64 M'  '64mib'  b'64M'  None  5  []  {}  1.5  nan  object()  ('a', 'b')  Evil()  Mute()
    np.array(['64M'])  np.str_('64M')  Text('64M')  Path('/')  Path('x' * 300)  bytearray(b'x')
""")
HOSTILE: Pools = {"scalar": SCALARS, "array": ARRAYS, "text": TEXTS}


class Evil:
    """Its parts raise."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Own("no array")

    def __iter__(self) -> Any:
        raise Own("no iteration")

    def __index__(self) -> int:
        raise Own("no index")

    def __fspath__(self) -> str:
        raise Own("no path")


class Mute:
    """Cannot be shown, compared or looked up."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise Own("no words")

    def __eq__(self, other: object) -> bool:
        raise Own("no comparison")


class Index:
    """A whole number by protocol alone."""

    def __index__(self) -> int:
        return 3


class Text(str):
    """Text of somebody's own class."""

    __slots__ = ()


def deep(n: int) -> list[Any]:
    """A list in a list in a list."""
    made: list[Any] = [1]
    for _ in range(n):
        made = [made]
    return made


def itself() -> list[Any]:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


def frozen(numbers: Any) -> Any:
    """The same, read-only."""
    numbers.flags.writeable = False
    return numbers


def unaligned(n: int) -> Any:
    """Words that begin where none should."""
    return np.arange(8 * n + 1, dtype="u1")[1:].view("u8")


def mapped(numbers: list[int]) -> Any:
    """The same, in a file."""
    file = open(os.memfd_create("mapped"), "w+b")  # noqa: SIM115
    file.write(np.array(numbers, "u8").tobytes())
    file.flush()
    return np.memmap(file, "u8", mode="r")


def namespace() -> dict[str, Any]:
    """What the expressions are made of."""
    from pathlib import Path

    import pandas as pd

    own = (Evil, Mute, Index, Text, deep, itself, frozen, unaligned, mapped)
    others = (
        array.array,
        np.lib.stride_tricks.as_strided,
        decimal.Decimal,
        fractions.Fraction,
        datetime.date,
    )
    names: dict[str, Any] = {made.__name__: made for made in (*own, *others, Path)}
    return names | {"np": np, "pd": pd, "nan": float("nan"), "inf": float("inf")}


def hostile(random: Random, kind: str = "") -> str:
    """An expression for a place where a "scalar", an "array" or a "text" belongs, mostly of that kind."""
    others = random.choice(list(HOSTILE))
    return random.choice(HOSTILE[kind if kind and random.random() < 0.8 else others])


def filled(random: Random, template: str, pools: Pools) -> str:
    """A statement in which ``?name`` is one of a pool, or a hostile value of that kind, and ``?`` any."""

    def chosen(hole: re.Match[str]) -> str:
        if hole[1] in pools:
            return filled(random, random.choice(pools[hole[1]]), pools)
        return hostile(random, hole[1])

    return _HOLE.sub(chosen, template)
