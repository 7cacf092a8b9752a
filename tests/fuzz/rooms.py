"""Cases of the API fuzz beside designs: guests, building, streams, samples, limits, sweeps, memory, moves."""

from __future__ import annotations

from random import Random

from grammar import guest_for, options_for
from values import Pools, expressions, filled, hostile

from p2mperf.designs import registry

_SMALL: Pools = {
    "size": expressions("'64M'  2**24  '16M'  ?text"),
    "row": expressions("(?, '64M', 'ram')  (0, ?, 'ram')  (0, '64M', ?)  ?  (0, '64M', 'ram'), ?"),
    "run": expressions("""
        (0, 16384, 0, 2**40)  (0, 2**40, 0, 0)  (-5, 16384, 0, 0)  (0, 9, 0, 0), (500, 9, 0, 99)  (0, 9, 7, 0)
        (0, 9, 0, 0), (5, 9, 0, 99)  (0, 9, 0, 0), (9, 9, 0, 0)  (0, 16384, 0, -1)  (0, 16384, 0, 0)
    """),
    "field": expressions(
        "name  geometry  runs  n_boot_pages  max_pages  end_pfn  machine  seed  coincident_pfn"
    ),
    "frames": expressions("1  100  16383  16384  10**6  2**28  2**36  2**40  ?scalar"),
    "design": expressions(
        "'pv-tree'  'pv-linear'  'arm-walk'  'arm-vlpt'  'pv-linear-nested'  'hap-walk'  'hap-linear'"
    ),
    "geometry": expressions("'pv64'  'pv32'  'lpae'  'hap64'  'hap-pae'  'hap-nonpae'"),
    "extents": expressions("""
        Extents.of([(0, 0, 18)])  Extents.of([(0, 512, 9), (512, 7, 0)])  Extents.of([(?scalar, ?scalar, 9)])
        Extents.of([(2**35 - 1, 5, 0)])  Extents.of([(0, 2**40, 0)])  ?
    """),
}
_GUESTS = expressions("""
    Guest.plain(?size)  Guest.plain(?size, geometry=?)  Guest.plain('64M', seed=?)  Guest.plain('64M', name=?)
    Guest.plain('64M', geometry='lpae', base=?)  Guest.plain(?size, geometry=?geometry, seed=?scalar)
    Guest.preset(?)  Guest.preset('dom0-64-e820', seed=?)  Guest.from_e820(?, ?size)
    Guest.from_e820([?row], '16M')  Guest.from_e820([(0, '64M', 'ram')], ?size, ?)
    Guest.from_e820([(0, '64M', 'ram')], '64M', machine=?)
    Guest.from_e820([(0, '64M', 'ram')], '64M', machine=Machine(?frames))
    replace(Guest.plain('64M', geometry=?geometry), machine=Machine(?frames))
    Guest.from_extents(?extents)  Guest.from_extents(?extents, ?geometry)
    Guest.from_extents(?extents, 'hap64', Machine(?frames))
    Guest.from_extents(Extents.of([(0, 0, 9)]), ?, ?)
    replace(Guest.plain('64M'), runs=Runs.of([?run]))  replace(Guest.plain('64M'), ?field=?)
""")
_LOOKS = expressions("""
    g.entries(?array)  g.entry_kinds(?array)  g.entries([5], ?text)  g.covered_pfn  g == g  hash(g)  repr(g)
    streams.make_stream(?text, g, 5)  streams.make_stream('uniform', g, ?scalar, seed=?scalar)
    streams.make_stream('zipf', g, 5, hole_fraction=?scalar, identity_fraction=?scalar)
    streams.replay(?array, g)
""")
_LONE = expressions("""
    Machine(?)  Machine(1000, ?)  Machine(1000).allocate(?)  Backing(?, ?, ?)  VlptWindow(?)
    units.parse_size(?)  units.parse_pages(?)  streams.make_stream('uniform', ?, 5)  p2mperf.designs()
    p2mperf.designs.find(?)  p2mperf.designs.family_of(?)
""")


def guests(random: Random) -> list[str]:
    """A guest with something wrong in most of them, and what is asked of it and built for it."""
    if random.random() < 0.2:
        return [filled(random, random.choice(_LONE), {})]
    lines = [f"g = {random.choice(_GUESTS)}", *(random.choice(_LOOKS) for _ in range(random.randint(0, 2)))]
    lines += ["a = build(?design, g)", "a.m2p", "check(a)"] if random.random() < 0.5 else []
    return [filled(random, line, _SMALL) for line in lines]


def builds(random: Random) -> list[str]:
    """One call of build with something hostile in it."""
    design = random.choice(sorted(registry()))
    guest, options = guest_for(random, design), options_for(random, design, n_hostile=0.6, n_most=3)
    roll = random.random()
    if roll < 0.1:
        return [f"a = build({hostile(random, 'text')}, {guest})"]
    if roll < 0.2:
        return [f"a = build({design!r}, {hostile(random, 'text')})"]
    if roll < 0.3:
        options += filled(random, ", ?name=?text", {"name": ("zzz", "backing", "guest", "design", "self")})
    backing = f", {hostile(random, 'text')}" if roll > 0.9 else ""
    kind = f"p2mperf.designs.find({design!r})"
    lines = [f"g = {guest}", f"a = build({design!r}, g{backing}{options})", "check(a)"]
    return [*lines, f"{kind}.predict_footprint(g{options})"] if roll > 0.7 else lines


_STREAMED: Pools = {
    "guest": expressions("""
        Guest.preset('dom0-64-e820')  Guest.plain('16M', geometry='lpae')  Guest.plain('64M', geometry='pv32')
        Guest.plain('16M', geometry='hap64')  p2mperf.populate('16M', fragmentation=0.5).guest
        Guest.from_e820([(0, '10M', 'ram'), ('12M', '40M', 'ram')], '20M', '30M')  ?
    """),
    "name": expressions("'sequential'  'uniform'  'zipf'  'log-uniform'  'leaf-stride'  ?text"),
    "seed": expressions("1  (2, 3)  [2, 3]  ()  (1, ?scalar)  ?scalar  ?array"),
    "share": expressions("0  0.5  1  1/3  1e-300  1e-9  0.1 + 0.2  np.float64(0.5)  True  ?scalar"),
    "pattern": expressions("'random'  'runs'  'runs'  ?text"),
    "n": expressions("0  1  63  1000  np.uint64(5)  2**20  2**33  2**40  ?scalar"),
    "design": _SMALL["design"],
}
_OF_A_STREAM = expressions("""
    s.take(?n)  x = s.take(?n)  a.lookup(s.take(1000))  s.take(5).sum()  copied(s, 'copy')  repr(s)
    race(lambda: s.take(1000), lambda: s.take(5))  streams.replay(s.take(?n), g)  streams.is_scattered(?name)
    same_pieces(?name, g, ?seed, ?share, ?share, ?pattern)
    streams.make_stream(?name, g, ?n, seed=?seed, hole_fraction=?share, hole_pattern=?pattern)
    streams.check_fractions(g, ?share, ?share, ?pattern)
    s = streams.open_stream(?name, g, seed=?seed, hole_fraction=?share, hole_pattern=?pattern)
    s = streams.open_stream(?name, g, identity_fraction=?share, hole_pattern=?pattern)
""")


def streamed(random: Random) -> list[str]:
    """A stream of any shares and pattern, taken in pieces and looked up."""
    lines = [
        "g = ?guest",
        "a = build(?design, g)",
        "s = streams.open_stream(?name, g, seed=?seed, hole_fraction=?share, identity_fraction=?share, "
        "hole_pattern=?pattern)",
        *(random.choice(_OF_A_STREAM) for _ in range(random.randint(1, 4))),
    ]
    return [filled(random, line, _STREAMED) for line in lines]


_SAMPLES: Pools = {
    "frame": expressions("""
        frame.head(0)  frame.head(1)  frame.drop(columns=[?column])  changed(frame, **{?column: ?scalar})
        frame.T
        frame.assign(**{?column: None})  frame.assign(cost_ns=-1.0)  frame.assign(cost_ns=nan)
        frame.assign(zz=1)
        frame.astype(object)  frame.reset_index()  frame.cost_ns  frame.assign(guest='$x_{$')
        frame[['guest']]
        frame.assign(family='nope')  frame.assign(status='odd')  pd.DataFrame()  frame.assign(entry_bits=7)
        frame.iloc[::-1]  frame  frame.set_index('guest')  frame.to_dict()  frame.to_numpy()
        frame.astype(str)
        frame.convert_dtypes()  frame.set_axis(range(frame.shape[1]), axis=1)
        pd.concat([frame, frame], axis=1)
        changed(frame, runs=?)  frame.sample(50, random_state=1)  pd.concat([frame, frame])  ?
    """),
    "column": expressions("""
        'status'  'cost_ns'  'design'  'guest'  'family'  'run'  'replicate'  'round'  'guest_bytes'
        'entry_bits'
        'hole_fraction'  'stream'  'operation'  'backing'  'limit_bytes'  'n_lookups'  'build_ns'  'geometry'
        'machine'  'n_pages_grown'  'footprint_leaf_pages'  'hole_pattern'  'preamble'  'boot'  'code'
        'call_ns'  'visit'  'identity_fraction'
    """),
    "figure": expressions("""
        'cost'  'ratio'  'footprint'  'entry'  'life'  'limit-area'  'limit-map'  'arm-shift'
        'arm-find'  'precopy'  ?text
    """),
    "place": expressions("'/dev/null/x'  '/dev/full'  '/proc/self'  ?text"),
}
_OF_SAMPLES = expressions("""
    p2mperf.summary(?frame)  p2mperf.figure(?figure, ?frame)  figures.table(?figure, ?frame)
    p2mperf.figure(?text)
    compare(?frame, ?frame)  p2mperf.compare(frame, ?frame)  compare(?frame, frame, force=?)
    p2mperf.compare(frame, changed(frame, **{?column: ?scalar}), force=True)  p2mperf.compare(?, ?)
    p2mperf.agreement(?frame)  p2mperf.agreement(changed(frame, **{?column: ?scalar}))
    p2mperf.load([?text, 'shipped'])  p2mperf.load(['shipped', 'shipped'])  p2mperf.load(?text)
    p2mperf.load('shipped', ?)  p2mperf.load(?, ?text)  export(?text, ?place)
""")


def samples(random: Random) -> list[str]:
    """Samples that are none, or not whole, in front of all that shows samples."""
    return [filled(random, random.choice(_OF_SAMPLES), _SAMPLES)]


_ASKED: Pools = {
    "size": expressions("'400G'  '43G'  '2049M'  4096  ?text  ?scalar"),
    "bits": expressions("32  64  ?scalar"),
    "setting": expressions("""
        vmalloc  split  hypervisor  reserve  fixmap  hole  struct_page  hotplug_limit  max_domain_memory
        ram_base
        window  zzz  nr_cpus
    """),
    "part": expressions(
        "sizes  guests  designs  streams  operations  backings  n_replicates  limit  control  entry_bits  "
        "preambles  geometries"
    ),
    "plan": expressions("'quick'  'default'  'life'  ?text"),
    "geometry": expressions("'hap64'  'hap-pae'  'hap-nonpae'  ?text"),
    "scenario": expressions("'balloon'  'save-restore'  'passthrough'  ?text"),
    "limit": expressions("'1G'  0  1  '-1'  None  []  nan  4096  '8T'  2**70  'x' * 1000  ?"),
    "preamble": expressions("'tight'  'flush'  'flush+8M'  '8M'  ?text"),
    "family": expressions("'pv'  'arm'  'hap'  ?text"),
    "stream": expressions("""
        'uniform:hole=0.5,pattern=runs'  'uniform:pattern=runs'  'zipf:hole=0.5,pattern=random'
        'uniform:hole=' + 'x' * 9999  'uniform:hole=nan'  'uniform:hole=1e400,pattern=runs'
        'uniform:hole=\\udcff'
        'uniform:hole=0.5,pattern='  'uniform:hole=0.5,pattern=runs,identity=0.6'  ?text
    """),
    "question": ("'64g-32bit'", "'vlpt-window'", "?text"),
}
_QUESTIONS = expressions("""
    sizing.limits(?size, entry_bits=?bits)  sizing.limits(?size, ?setting=?)
    sizing.limits(?size, design=?text)  sizing.limits(?size, design='hap-linear', entry_bits=?bits)
    p2mperf.sweep(?plan, out='/dev/null', sizes=[?size], designs=['hap-walk'], geometries=[?geometry])
    sizing.limits(?size, entry_bits=32, **{'?setting': ?text, '?setting': ?scalar})
    sizing.limits('64G', without=?)
    sizing.limits('64G', without=[?])  sizing.limits('64G').on(?)  sizing.limits(?size).to_dict()
    sizing.table(?)  sizing.table([?size, ?size])  sizing.table(['1G'], widths=?)
    sizing.table(['1G'], [?bits])
    sizing.table(['1G'], ?setting=?)  sizing.reply(?question)  sizing.reply(?question).to_dict()
    p2mperf.limits('400G', ?)  p2mperf.life(?text, 'balloon', 'pv-tree')
    p2mperf.life(Guest.plain('16M'), ?scenario, ?text, '1G')  p2mperf.life(?, ?scenario, 'pv-linear', ?limit)
    p2mperf.life(Guest.plain('16M'), ?scenario, 'pv-tree', ?limit)
    p2mperf.sweep(?plan, out='/dev/null', ?part=?)  p2mperf.sweep(?plan, out='/dev/null', ?part=[?text])
    p2mperf.sweep('quick', out='/dev/null/x', fresh=?, quiet=?)
    p2mperf.sweep(?plan, out='/dev/null', executor=?)
    p2mperf.sweep(?plan, out='/dev/null', operations=['entry'], preambles=[?preamble, ?preamble])
    p2mperf.sweep(?plan, out='/dev/null', guests=['dom0-64-e820'], streams=[?stream], preambles=?preamble)
    p2mperf.replay(?, quiet=True)  p2mperf.replay('nothing', ?part=?, quiet=True)
    p2mperf.replay('nothing', guests=[?size], designs=[?text, ?text], work=?size, seed=?scalar, quiet=True)
    p2mperf.kernel_build(?, quiet=True)  p2mperf.kernel_build('nothing', ?, quiet=True)
    p2mperf.kernel_build('nothing', guest_memory=?size, thp=?, n_faults=?scalar, quiet=True)
    families.find_preamble(?family, ?preamble)  families.find_family(?family).entry  families.preambles()
""")


def questions(random: Random) -> list[str]:
    """Limits, lives and sweeps. No sweep can begin: its results directory is refused."""
    return [filled(random, random.choice(_QUESTIONS), _ASKED)]


_GIVEN: Pools = {
    "size": expressions("'64M'  '16M'  '5G'  2**24  ?text  ?scalar"),
    "policy": expressions("'builder'  'builder-2008'  'builder-2010-04-22'  'opportunistic'  ?text"),
    "share": expressions("0  0.5  1  1.5  ?scalar"),
    "switch": expressions("hap_1gb  hap_2mb  device_model  demand_4k  seed  fragmentation  zzz"),
    "extents": expressions("""
        Extents(?array, ?array, ?array)  Extents([0, 512], [7, 1024], [0, 9])  Extents.of([(0, 0, 18)])
        Extents.of([(?scalar, 0, 0)])  Extents.of([(0, ?scalar, 0)])  Extents.of([(0, 0, ?scalar)])
        Extents.of(?)  p2mperf.populate('16M').extents
    """),
}
_GIFTS = expressions("""
    p2mperf.populate(?size, ?policy)  p2mperf.populate(?size, ?policy, ?switch=?).to_dict()
    p2mperf.populate('64M', ?policy, fragmentation=?share, fragmentation_1gb=?share).tables
    p2mperf.populate('64M', ?policy, machine_memory=?size, seed=?scalar)
    e.entries(?array)  e.at(?)  e.cut(?)  e.cut([?scalar])  e.n_by_order  e == e  hash(e)
    ballooning.release(e, ?array)  ballooning.course(e, ?array, ?scalar, ?scalar)
    ballooning.course(e, [0, 1], seed=?)  ballooning.expected_survival(?scalar, ?scalar, ?array)
    tables.count_tables(e)  heap.MachineHeap(Machine(4096), heap.Fragmentation(?share, ?share))
    heap.MachineHeap(Machine(4096)).take(?)  heap.MachineHeap(Machine(4096)).give(?scalar, ?scalar)
""")


def gifts(random: Random) -> list[str]:
    """Guests that are given memory, and what they give back of it."""
    lines = ["e = ?extents", *(random.choice(_GIFTS) for _ in range(random.randint(1, 3)))]
    return [filled(random, line, _GIVEN) for line in lines]


_MOVED: Pools = {
    "writer": expressions("""
        writers.make_writer(?text, g)  writers.make_writer('uniform', g, ?scalar, ?scalar)
        writers.Sequential(g, ?)
        writers.HotSet(g, hot_pages=?scalar, hot_fraction=?scalar)
        writers.Uniform(g)  writers.HotSet(g, 100)  writers.Uniform(?)
    """),
    "rate": expressions("0  1  20000  1e6  -1  2**64  1e300  ?scalar"),
    "speed": expressions("1  125e6  1e9  1e-300  ?scalar"),
    "rule": expressions(
        "precopy.stop_rule('legacy')  precopy.stop_rule('later')  precopy.stop_rule(?text)  ?"
    ),
}
_MOVES = expressions("""
    precopy.recurrence(w, ?rate, ?speed, ?rule)  precopy.Sender(t, w, ?rate, ?speed, peek=?).run(?rule)
    precopy.Sender(t, w, 100, 1e8).run(?rule)  precopy.Sender(?, w, 100, 1e8)  precopy.Sender(t, ?, 100, 1e8)
    precopy.recurrence(?, 100, 1e8, ?rule)  precopy.check_traceable(?rate, ?speed, 4096)  w.write(?scalar)
    w.expected_dirty(250)  w.write(5)  t.write(?array)  t.write(w.write(5))  t.stop()  t.clean()
    a.close()
""")


def migrations(random: Random) -> list[str]:
    """A guest that is moved, by its writers and tracer."""
    lines = [
        "g = Guest.plain('16M', geometry='lpae')",
        "a = build(?walk, g)",
        "t = tracing.Tracer(a)",
        "w = ?writer",
        *(random.choice(_MOVES) for _ in range(random.randint(1, 3))),
    ]
    walk = expressions("'arm-walk'  'arm-walk-direct'  'arm-vlpt'")
    return [filled(random, line, {**_MOVED, "walk": walk}) for line in lines]
