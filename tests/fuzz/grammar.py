"""Cases of the API fuzz that stand on designs, made from a seed over designs as they are registered today."""

from __future__ import annotations

import inspect
from functools import cache
from random import Random

from values import Pools, expressions, filled

from p2mperf.designs import family_of, find, registry
from p2mperf.families import find_family

# What users call, with whatever they please. All other public names of a design are for rooms of the package:
# they are called with good arguments, at any time, where it is known what those are.
DOCUMENTED = frozenset(
    expressions("""
        add  again  audit  balloon_down  balloon_up  break_leaves  change_type  change_type_global  cleanup
        clear_entry  clear_foreign  close  dump  events  explain  footprint  foreign  frames  has_memory
        hotplug  invalidate_extra_memory  kind_runs  leaf_orders  lookup  lookup_path  make_ready  mfn_to_gfn
        mfn_to_pfn  neighbour  page_orders  pass_through  pfn_to_mfn  predict_footprint  prepare  remove
        restore  save  set  set_allocation  set_entry  set_foreign  set_identity  step_at  unused_mfns  views
    """)
)
# What an argument of this name is, and good values; `f` is the first frame of RAM, `end` behind the map.
ROLES: dict[str, tuple[str, tuple[str, ...]]] = {
    name: (kind, expressions(good))
    for name, kind, good in (
        ("pfns", "array", "[f]  [f, end - 1]  [end]  range(f, f + 700)  np.arange(f, f + 5)  f  many(a, 50)"),
        ("pfn", "scalar", "f  end - 1  end  2**64 - 1"),
        ("gfns", "array", "[f]  0  512  [0, 512, 1024]  range(0, 700)  np.arange(600)  [end - 1]  [end]"),
        ("order", "scalar", "0  0  9  9  10  18  [9, 0, 9]  np.uint8(9)  19"),
        ("kind", "text", "'ram_rw'  'ram_logdirty'  'ram_ro'  'mmio_direct'"),
        ("old", "text", "'ram_rw'  'ram_logdirty'"),
        ("new", "text", "'ram_rw'  'ram_logdirty'  'ram_ro'"),
        ("n_pages", "scalar", "0  1  600  10**6  a.allocation[0]  a.allocation[0] + 1"),
        ("hap_2mb", "scalar", "True  False  None"),
        ("hap_1gb", "scalar", "True  False  None"),
        ("first_pfn", "scalar", "f  end  end + 512  end - 1  np.uint64(end)  0"),
        ("to_pfn", "scalar", "end  end + 1024  f  np.int64(end)"),
        ("n_frames", "scalar", "0  1  512  600  1024  2**21  np.uint64(5)"),
        ("mfns", "array", "[0]  [5, 6]  [n - 1]  [n]  a.unused_mfns(1)  5"),
        ("entries", "array", "[5]  2**64 - 1  2**32 - 1  2**62 | f  2**30 | f  [n]  a.lookup([f])"),
        ("leaves", "array", "[0]  [50]  [50, 51]  np.array([60])  [70, 70]"),
        ("written", "array", "None  [50 * 512]"),
        ("entry", "scalar", "5  2**64 - 1  2**62 | 5"),
        ("address", "scalar", "0  a.lookup_path(f).steps[-1].address  2**47"),
        (
            "saved",
            "scalar",
            "s  replace(s, has_memory=s.has_memory[:7])  Saved(a.guest, s.has_memory.copy())",
        ),
        ("seed", "scalar", "None  1  2**70  -1"),
        ("guest", "text", "g"),
        ("backing", "text", "'kernel'  'mixed'  'small'  'huge'  'swapped'  Backing('x', 4096, 4096)"),
    )
}
OPTIONS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    family: {name: (kind, expressions(good)) for name, kind, good in rows}
    for family, rows in {
        "pv": (
            ("above", "text", "'identity'  'invalid'"),
            ("run_frames", "scalar", "0  1  8  512"),
            ("limit", "text", "0  '1G'  '8G'  '64G'  2**30"),
            ("n_spare", "scalar", "0  5  100"),
            ("quirks", "text", "()  ('bug-beyond-end',)  'identity-widens'  ['early-free-bug']"),
            ("m2p_override", "scalar", "True  False"),
            ("max_domain_pages", "scalar", "4096  10**6"),
            ("invalidated", "scalar", "True  False"),
            ("boot_list", "array", "g.entries(np.arange(g.n_boot_pages)).astype(g.geometry.dtype)  None"),
        ),
        "arm": (
            ("domid", "scalar", "0  1  63"),
            ("run_frames", "scalar", "0  1  8"),
            ("n_regions", "scalar", "1  2  4"),
            ("checks", "text", "'correct'  'as-posted'"),
            ("like", "scalar", "None  build('arm-walk-direct', g)"),
            ("window", "scalar", "None  VlptWindow()"),
        ),
        "hap": (
            ("hap_2mb", "scalar", "True  False"),
            ("hap_1gb", "scalar", "True  False"),
            ("pool_pages", "scalar", "None  5  40  600  10**5"),
        ),
    }.items()
}
# What is asked beside a design's own methods, by family.
_BESIDE: Pools = {
    "pv": expressions("""
        a.tools.read()  a.tools.audit()  a.tools.n_entries  a.tools.generation  a.tools.read_linear()
        a.m2p.words()[:3]  a.m2p.n_frames  a.m2p.close()  v = a.m2p.words()  v[-1]  i = a.tools.info
        i['max_pfn']  s = a.save()  a.restore(s)  a.dump()  a.invalidate_extra_memory()  a.kind_runs()
        a.audit()  a.footprint()  b = a.again()  b = a.again(run_frames=4)  b = a.again(zzz=1)
        a.balloon_down(range(f, f + 600))  a.balloon_up([f], a.unused_mfns(1))  a.hotplug(end, 600)
        a.set(many(a, 100), 2**64 - 1)  a.set_foreign([end - 1], [n - 1])
        a.set(range(f, f + 5), a.lookup([f]))
    """),
    "arm": expressions("""
        a.prepare()  a.cleanup()  a.restore()  a.window.close()  t = tracer(a)  t.stop()  t.write([f])
        t.write(?array)  t.write(many(a, 100))  t.clean()  t.peek()  t.n_dirty  t.start()  tracing.Tracer(?)
        a.events(f)  a.lookup_path(f)  a.audit()  a.footprint()  b = a.again()  b = a.neighbour()  a.views()
        v = a.root_words()  v[-1]  v = a.third_words()
    """),
    "hap": expressions("""
        a.remove(many(a, 50))  a.remove(0, 9)  a.remove(512, 9)  a.remove(range(512))  a.remove(0, 18)
        a.add(0, 512, 9)  a.add(range(512), range(n - 512, n))  a.add([0, 512], [512, 0], 9)  a.add(5, n - 1)
        a.add(many(a, 50), many(a, 50))  a.add(0, 0, 18)  a.add(?array, ?array, ?scalar)
        a.add(f, 7, 0, ?text)
        a.change_type(many(a, 50), 'ram_rw', 'ram_logdirty')  a.change_type_global('ram_rw', 'ram_ro')
        a.set_allocation(a.allocation[0])  a.set_allocation(a.allocation[0] + 1)  a.set_allocation(9999)
        a.page_orders(range(end))  a.leaves  a.counts  a.allocation  a.foreign(many(a))  a.windows.close()
        a.mfn_to_gfn(range(n))  a.m2p.words()[:3]  v = a.m2p.words()  v[-1]  a.dump()  a.footprint()
        p = a.lookup_path(f).steps[-1].address  a.step_at(p)  a.make_ready(600)  a.windows.stretches()
        ballooning.release(a.guest.extents, many(a, 50))  a.set_entry(f, n - 1)  a.clear_entry(f)
        a.set_entry(0, 512, 9, 'mmio_direct')  a.clear_entry(0, 9)
    """),
}
_ENDS = expressions("a.close()  a.__exit__()  a.__enter__()  del g  repr(a)  held(a, lambda: a.close())")
_PARTS = expressions("a  a  a.pool  a.window  a.m2p  a.tools  a.store  a.table")
_WAYS = expressions("'copy'  'deepcopy'  'pickle'")
_LAST = expressions("a.close()  a.cleanup()  a.audit()  a.m2p  a.tools  a.save()  ?call")
_MEANWHILE = expressions("a.lookup(many(a))  a.lookup(many(a))  ?write  a.audit()  ?call")
_WRITES: Pools = {
    "pv": expressions("a.set(many(a), 5)  a.balloon_down(many(a, 5000))"),
    "arm": expressions("tracer(a).write(many(a))"),
    "hap": expressions("a.remove(many(a, 500))  a.add(many(a, 500), many(a, 500))  a.add(0, 512, 9)"),
}
_LIVELY = (
    (50, "?call"),
    (25, "?beside"),
    (8, "?end"),
    (5, "copied(?part, ?way)"),
    (2, "forked(a, lambda: ?call)"),
    (2, "forked(a, lambda: a.set([f], [5]))"),
    (8, "race(lambda: ?last, lambda: ?meanwhile)"),
)
_GUESTS: Pools = {
    "size": expressions("'16M'  '64M'  '64M'  '20M'"),
    "lpae": expressions(
        "Guest.plain('64M', geometry='lpae', seed=1)  Guest.plain('64M', geometry='lpae', seed=2)"
    ),
    "pv": expressions("Guest.plain('64M')  Guest.plain('64M', geometry='pv32')"),
    "vlpt": ("build('arm-vlpt', ?lpae",),
    "limit": ("", ", limit='8G'"),
    "walk": expressions("'arm-walk'  'arm-walk-direct'  'arm-vlpt'  'arm-walk-thrashing'"),
    "written": expressions("'pv-tree'  'pv-linear'"),
    "given": expressions("""
        p2mperf.populate('16M').guest  p2mperf.populate('16M', 'opportunistic', demand_4k=True).guest
        p2mperf.populate('64M', fragmentation=0.5).guest  Guest.from_extents(Extents.of([(0, 0, 18)]))
        Guest.from_extents(Extents.of([(0, 512, 9), (512, 7, 0), (2**18, 2**18, 18), (2**20, 9, 0)]))
    """),
    "hap": expressions("'hap-walk'  'hap-linear'  'hap-linear-2m'"),
}
# Pairs that share something: how they begin, what is done to one, what is seen of both.
_PAIRS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "w = VlptWindow(); a = ?vlpt, domid=0, window=w); b = ?vlpt, domid=1, window=w)",
        expressions("""
            b.close()  a.cleanup()  b.cleanup()  w.close()  del w  b.switch_to()  a.prepare()
            race(w.close, steady(a))
            race(b.close, steady(a))  race(lambda: None, steady(a), steady(b))
            race(b.prepare, steady(a), b.cleanup)
        """),
        expressions(
            "expect(a)  expect(b)  a.events(524293)  a.footprint()  a.lookup_path(524293)  a.audit()"
        ),
    ),
    (
        "g = ?lpae; a = build(?walk, g); b = build(?walk, g, like=a)",
        expressions("""
            a.close()  b.close()  del a  a.cleanup()  b.cleanup()  race(a.close, steady(b))
            t = tracer(b); a.close(); t.clean()
        """),
        expressions(
            "expect(b)  b.events(524293)  b.audit()  b.footprint()  b.views()  c = build(?walk, g, like=b)"
        ),
    ),
    (
        "g = ?pv; a = build(?written, g?limit); b = build(?written, g?limit)",
        expressions("""
            a.balloon_down(range(900))  a.hotplug(g.covered_pfn, 600)  b.balloon_down([5])  b.close()
            race(b.close, lambda: b.lookup(many(b)))  race(a.save, lambda: a.set(many(a), 5))
        """),
        expressions("check(a)  s = a.save()  z = b.save()  a.restore(z)  b.restore(s)  b.dump()  b.audit()"),
    ),
    (
        "g = ?given; a = build(?hap, g); b = build(?hap, g)",
        expressions("""
            a.remove(many(a, 99))  a.remove(0, 9)  a.add(0, 512, 9)  a.set_allocation(a.allocation[0])
            a.close()
            race(a.close, steady(b))  race(lambda: a.remove(many(a, 9)), lambda: a.lookup(many(a)), steady(b))
            race(lambda: a.add(0, 512, 9), lambda: a.remove(many(a, 99)), lambda: a.audit())
        """),
        expressions("check(a)  expect(b)  b.dump()  b.leaves  a.footprint()  a.lookup_path(5)  b.audit()"),
    ),
)


def argument(random: Random, kind: str, good: tuple[str, ...], n_hostile: float) -> str:
    """A value for one argument, hostile in that share of cases."""
    return filled(random, f"?{kind}", {}) if random.random() < n_hostile else random.choice(good)


@cache
def _doors(design: str) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Public attributes of a design: name, and names of the arguments, or None where it is no method."""
    kind, found = find(design), []
    for name in (name for name in sorted(dir(kind)) if not name.startswith("_")):
        member = getattr(kind, name)
        is_method = callable(member) and not isinstance(member, type)
        arguments = _arguments(member) if is_method else None
        is_known = name in DOCUMENTED or set(arguments or ()) <= ROLES.keys()
        if is_known:
            found.append((name, arguments))
    return tuple(found)


def _arguments(member: object) -> tuple[str, ...]:
    parameters = inspect.signature(member).parameters.values()  # type: ignore[arg-type]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(each.name for each in parameters if each.kind in kinds and each.name not in ("self", "cls"))


def guest_for(random: Random, design: str) -> str:
    """A small guest that a design can be built for."""
    geometry = random.choice(find_family(family_of(design)).geometries)
    if geometry == "hap64" and random.random() < 0.5:
        return random.choice(_GUESTS["given"])
    if geometry == "pv64" and random.random() < 0.2:
        return "Guest.from_e820([(0, '10M', 'ram'), ('12M', '40M', 'ram')], '20M', '30M')"
    return filled(random, f"Guest.plain(?size, geometry={geometry!r}, seed={random.randrange(9)})", _GUESTS)


def options_for(random: Random, design: str, n_hostile: float, n_most: int = 2) -> str:
    """A few options, as they stand in a call; some are of other designs of the family, which must be said."""
    there = OPTIONS.get(family_of(design), {})
    chosen = random.sample(sorted(there), min(len(there), random.randint(0, n_most)))
    return "".join(f", {name}={argument(random, *there[name], n_hostile)}" for name in chosen)


def call(random: Random, design: str, n_hostile: float = 0.4) -> str:
    """One call, or one look at an attribute, of a design."""
    doors = _doors(design)
    name, arguments = random.choices(doors, [3 if name in DOCUMENTED else 1 for name, _ in doors])[0]
    if arguments is None:
        return f"a.{name}"
    share = n_hostile if name in DOCUMENTED else 0.0
    given = [argument(random, *ROLES.get(each, ("scalar", ("1",))), share) for each in arguments]
    return f"a.{name}({', '.join(given)})"


def lively(random: Random) -> list[str]:
    """One design, and what is done to it: calls in any order, close, copies, forks, threads."""
    design = random.choice(sorted(registry()))
    family = family_of(design)
    has_room = family == "pv" and random.random() < 0.6
    options = ", limit='8G'" if has_room else options_for(random, design, 0.0)
    lines = [
        f"g = {guest_for(random, design)}",
        f"a = build({design!r}, g{options})",
        "f, end, n = int(g.ram.first_pfn[0]), g.covered_pfn, g.machine.n_frames",
    ]
    weights, templates = zip(*_LIVELY, strict=True)
    for template in random.choices(templates, weights, k=random.randint(1, 6)):
        pools = {
            "call": (call(random, design),),
            "beside": _BESIDE.get(family, ("a.audit()",)),
            "write": _WRITES.get(family, ("a.audit()",)),
            "end": _ENDS,
            "part": _PARTS,
            "way": _WAYS,
            "last": _LAST,
            "meanwhile": _MEANWHILE,
        }
        lines.append(filled(random, template, pools))
    # Who sets entries alone keeps the m2p themselves, or not.
    return [*lines, f"check(a{', has_m2p=False' * any('_entry(' in line for line in lines)})"]


def paired(random: Random) -> list[str]:
    """Two designs that share something: a window, tables, a saved guest."""
    beginning, acts, looks = random.choice(_PAIRS)
    middle = (random.choice(random.choice((acts, looks, looks))) for _ in range(random.randint(1, 6)))
    return filled(random, "; ".join([beginning, *middle, "check(b)"]), _GUESTS).split("; ")
