"""Ways to change a journal, or a Parquet file, each from a seeded random source."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

DEEP = 100_000
ODD_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**53 + 1,
        2**62,
        2**63,
        2**64,
        2**70,
        10**400,
        0.5,
        -0.5,
        1e308,
        -1e308,
    ),
    *(
        math.nan,
        math.inf,
        -math.inf,
        "",
        "x",
        "5",
        "\udcff",
        "a\udcffb",
        "\0",
        "a\nb",
        "\uffff",
        "\U0001f600",
    ),
    *(
        "$x_{$",
        "$\\frac{$",
        "\\oops{",
        "x" * 100_000,
        [],
        [1],
        [[]],
        ["a", "a"],
        [None],
        {},
        {"a": 1},
        {"": {}},
    ),
    *(
        {"name": 5},
        {"knees": 5},
        {"knees": [5]},
        {"knees": [{"name": [], "bytes": "x"}]},
        {"cpu_model": ["$x$"]},
    ),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00+00:00", "2026-01-01"),
    *("control:", "control:control:pv-tree", "done", "failed", "skipped_memory", "pv", "pv-linear", 1 << 40),
)


def flipped(random: Random, content: bytes) -> bytes:
    """A few bits the other way."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, content: bytes) -> bytes:
    """Without its end, its beginning, or a stretch."""
    first, second = sorted(random.randrange(len(content)) for _ in range(2))
    return random.choice((content[:first], content[first:], content[:first] + content[second:]))


def overwritten(random: Random, content: bytes) -> bytes:
    """With a stretch of zeros, of garbage or of itself."""
    start = random.randrange(len(content))
    n_bytes = random.choice((1, 4, 60))
    garbage = random.choice((bytes(n_bytes), random.randbytes(n_bytes), content[:n_bytes]))
    return content[:start] + garbage + content[start + random.choice((0, n_bytes)) :]


def relined(random: Random, content: bytes) -> bytes:
    """Lines left out, doubled, exchanged, or joined by strange ones."""
    lines = content.splitlines()
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    how = random.randrange(6)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(other, lines[at])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 3:
        strange = (
            b"[" * DEEP + b"]" * DEEP,
            b'{"a":' * DEEP + b"1" + b"}" * DEEP,
            b"[1]",
            b"5",
            b'"x"',
            b"",
            b"{}",
        )
        odd = (
            b'{"record":["cell"]}',
            b'{"record":{}}',
            b'{"record":null}',
            b"\xff\xfe",
            b"\0" * 50,
            b"NaN",
            b"1" * 9000,
        )
        lines.insert(at, random.choice((*strange, *odd)))
    elif how == 4:
        lines[at] = lines[at][:-1] + b',"record":"cell"}'
    else:
        return random.choice((b"\r\n", b"\n\n", b" ", b"")).join(lines)
    return b"\n".join(lines) + b"\n"


def retyped(random: Random, content: bytes) -> bytes:
    """One value of one record, however deep, replaced by an odd one; or a key renamed, left out, or new."""
    lines = content.splitlines()
    at = random.randrange(len(lines))
    record = json.loads(lines[at])
    holder, key = random.choice(list(places(record)))
    odd = random.choice(ODD_VALUES)
    how = random.random()
    if how < 0.75 or not isinstance(holder, dict):
        holder[key] = odd
    elif how < 0.85:
        del holder[key]
    elif how < 0.95:
        holder[str(odd)[:200]] = holder.pop(key)
    else:
        holder["new"] = odd
    # As `json.dumps` writes it: NaN and Infinity as such, a lone surrogate escaped.
    lines[at] = json.dumps(record).encode()
    return b"\n".join(lines) + b"\n"


def renamed(random: Random, content: bytes) -> bytes:
    """One name replaced throughout, keys included, so that the records agree with each other."""
    name = random.choice(
        (b"domu-32-512m", b"pv-tree", b"uniform", b"131072", b"alpha", b"leaf", b"latency", b"quick")
    )
    odd = (
        b"\\udcff",
        b"$x_{$",
        b"\\u0000",
        b"a\\nb",
        b"",
        b"control:",
        b"4611686018427387904",
        b"x" * 3000,
        b"-1",
    )
    return content.replace(name, random.choice(odd))


def places(value: Any) -> Any:
    """Every holder and key of a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(items):
        yield value, key
        yield from places(part)


def retabled(random: Random, content: bytes) -> bytes:
    """The Parquet file, with one column or its metadata replaced, written as it was."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    at = random.randrange(table.num_columns)
    name, n_rows = table.column_names[at], table.num_rows
    how = random.random()
    if how < 0.5:
        column = random.choice(_columns(n_rows))
        table = table.set_column(at, pa.field(name, column.type), column)
    elif how < 0.6:
        table = table.drop_columns([name])
    elif how < 0.7:
        extra = random.choice(("zz", "footprint_x y_pages", "footprint__pages", "", name, "$x$", "\0"))
        table = table.append_column(extra, random.choice(_columns(n_rows)))
    else:
        metadata = dict(table.schema.metadata or {})
        key = random.choice(sorted(metadata))
        runs = json.loads(metadata.get(b"p2mperf_runs", b"[{}]"))
        holder, part = random.choice(list(places(runs)))
        holder[part] = random.choice(ODD_VALUES)
        deep = b"[" * DEEP + b"]" * DEEP
        odd = (
            b"",
            b"{}",
            b"[]",
            b"5",
            b"[5]",
            b"null",
            b'"x"',
            b"\xff",
            deep,
            b"1e400",
            b"[{}]",
            b"-1",
            b"99",
        )
        if random.random() < 0.5:
            metadata[b"p2mperf_runs"] = json.dumps(runs).encode()
        else:
            metadata[key] = random.choice(odd)
        table = table.replace_schema_metadata(metadata)
    # Mostly as by an exporter that knows no digest of the file, so that what it holds must be judged.
    if random.random() < 0.9:
        said = {
            key: value for key, value in (table.schema.metadata or {}).items() if key != b"p2mperf_digest"
        }
        table = table.replace_schema_metadata(said)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _columns(n_rows: int) -> list[Any]:
    import pyarrow as pa

    odd = (
        [None],
        [-1],
        [0],
        [2**62],
        [-1.0],
        [0.0],
        [math.nan],
        [math.inf],
        [1.5],
        ["x"],
        ["1"],
        ["$x_{$"],
        [""],
    )
    more = ([b"\xff"], [[1]], [True], ["\U0001f600"], [{"a": 1}], ["x" * 10_000])
    columns = [pa.array(value * n_rows) for value in (*odd, *more)]
    return [*columns, pa.array([None] * n_rows, pa.int64()), pa.array([None] * n_rows, pa.float64())]


JOURNAL = (flipped, cut, overwritten, relined, relined, retyped, retyped, retyped, renamed)
PARQUET = (flipped, flipped, cut, overwritten, retabled, retabled)
