"""Nothing is used once it is gone: what is closed, another's or another process's is refused, views live on.

Each case runs in a process of its own, for what it looks for is a crash.
"""

from __future__ import annotations

from textwrap import dedent

import pytest
from started import run_started

_HEAD = """
import gc, os
from threading import Thread
import numpy as np
import p2mperf
from p2mperf.designs.arm.window import VlptWindow
from p2mperf.errors import ClosedError
from p2mperf.guests.guest import Guest
from p2mperf.migration.tracing import Tracer

build = p2mperf.build
PV = "pv-tree", "pv-linear", "pv-linear-nested"
ARM = "arm-walk", "arm-walk-thrashing", "arm-walk-direct", "arm-vlpt"

def pv():
    return Guest.plain("64M")

def arm(seed=0):
    return Guest.plain("64M", geometry="lpae", seed=seed)

HAP = "hap-walk", "hap-linear", "hap-linear-4k"

def guest_of(name):
    return arm() if name in ARM else Guest.plain("64M", geometry="hap64") if name in HAP else pv()

def refused(call, *arguments):
    try:
        answer = call(*arguments)
    except ClosedError as error:
        assert "\\n" not in str(error), error
    else:
        raise AssertionError(f"{call} answers {answer}")

# What every design, and what some, can be asked.
CALLS = {
    "lookup": ([524288],), "lookup_path": (524288,), "audit": (), "footprint": (), "views": (),
    "events": (524288,), "third_tables": (), "third_words": (), "root_words": (), "cleanup": (),
    "prepare": (), "restore": (), "neighbour": (), "step_at": (0,), "frames": ([0],), "slot_words": (),
    "dump": (), "kind_runs": (), "mfn_to_pfn": ([0],), "pfn_to_mfn": ([0],), "save": (), "set": ([0], [7]),
    "balloon_down": ([0],), "balloon_up": ([0], [7]), "unused_mfns": (1,), "invalidate_extra_memory": (),
    "hotplug": (0, 1), "set_identity": (0, 1), "break_leaves": (np.array([0]),), "rebuild_tools": (),
    "shared_leaves_beyond": (), "make_ready": (1,), "clear_foreign": ([0],),
    "add": ([0], [7]), "remove": ([0],), "set_entry": ([0], [7]), "clear_entry": ([0],), "foreign": ([0],),
    "change_type": ([0], "ram_rw", "ram_ro"), "change_type_global": ("ram_rw", "ram_ro"),
    "page_orders": ([0],), "mfn_to_gfn": ([0],), "set_allocation": (1000,),
}
PROPERTIES = "m2p", "tools", "copy", "n_extra_leaves", "pool", "leaves", "allocation"

def all_refused(p2m):
    n = 0
    for name, arguments in CALLS.items():
        if hasattr(type(p2m), name):
            refused(getattr(p2m, name), *([] if name == "restore" and p2m.family == "arm" else arguments))
            n += 1
    for name in PROPERTIES:
        if hasattr(type(p2m), name):
            refused(getattr, p2m, name)
            n += 1
    assert n >= 9, n
"""

CASES = {
    "closed": """
        CALLS["restore"] = (None,)
        for name in (*PV, *ARM, *HAP):
            p2m = build(name, guest_of(name))
            p2m.close()
            p2m.close()
            all_refused(p2m)
    """,
    "an array that closes what it is asked of": """
        class Closes:
            def __init__(self, p2m):
                self.p2m = p2m

            def __array__(self, *arguments, **options):
                self.p2m.close()
                return np.array([5], np.uint64)

        for name in PV:
            p2m = build(name, pv())
            refused(p2m.lookup, Closes(p2m))
        p2m = build("pv-tree", pv())
        refused(p2m.set, [5], Closes(p2m))
        for name in HAP:
            for call in ("lookup", "remove", "page_orders", "clear_entry", "mfn_to_gfn"):
                p2m = build(name, guest_of(name))
                refused(getattr(p2m, call), Closes(p2m))
            for call in ("add", "set_entry"):
                p2m = build(name, guest_of(name))
                refused(getattr(p2m, call), [5], Closes(p2m))
            p2m = build(name, guest_of(name))
            refused(p2m.change_type, Closes(p2m), "ram_rw", "ram_ro")
    """,
    "like": """
        for name in ARM:
            guest = arm(1)
            first = build("arm-walk-direct", guest)
            second = build(name, guest, like=first)
            third = build("arm-walk", guest, like=second)
            second.close()
            # The pages are the first one's: who is like the second is not hurt.
            assert third.lookup([524288]).tolist() == first.lookup([524288]).tolist()
            fourth = build(name, guest, like=first)
            first.close()
            for left in (third, fourth):
                all_refused(left)
                left.close()
            tracer = Tracer(fourth)
            refused(tracer.start)
    """,
    "window": """
        window = VlptWindow()
        first, second = (build("arm-vlpt", arm(n), domid=n, window=window) for n in (1, 2))
        expected = {p2m: p2m.guest.entries(np.array([524293])).tolist() for p2m in (first, second)}
        for p2m in (first, second, first):
            other = second if p2m is first else first
            for ask in (
                lambda: p2m.lookup([524293]).tolist(),
                lambda: [p2m.lookup_path(524293).entry],
                lambda: (p2m.events(524293), p2m.lookup([524293]).tolist())[1],
            ):
                other.restore()
                assert ask() == expected[p2m], p2m.guest
            other.restore()
            p2m.audit()
        other = Tracer(second)
        mine = Tracer(first)
        other.start(), mine.start()
        second.restore()
        assert mine.write([524293]) == 1 and other.write([524293]) == 1
        other.stop(), mine.stop()
        second.close()
        assert first.lookup_path(524293).entry == expected[first][0]
        first.events(524293)
        first.audit()
        window.close()
        all_refused(first)
        first.close()
    """,
    "views": """
        def kept(p2m, *views):
            p2m.close()
            gc.collect()
            return [view.copy() for view in views]

        p2m = build("pv-tree", pv())
        info, words, page = p2m.tools.info, p2m.m2p.words(), p2m.pool.words(0, np.uint64)[:3]
        p2m.close()
        gc.collect()
        assert int(info["max_pfn"]) == 16384 and words[:3].size == page.copy().size == 3
        p2m = build("arm-walk", arm())
        kept(p2m, p2m.root_words()[3:], p2m.third_words(), p2m.slot_words(), *p2m.third_tables())
        p2m = build("pv-linear", pv())
        window = p2m.window.words(np.uint64)[:512]
        before = window.copy()
        assert (kept(p2m, window)[0] == before).all()
        held = sum("memfd:p2mperf" in line for line in open("/proc/self/maps"))
        assert held, "the views that are left keep what they show"
        del page, window, info, words
        gc.collect()
        assert not sum("memfd:p2mperf" in line for line in open("/proc/self/maps"))
    """,
    "fork": """
        def child(act):
            pid = os.fork()
            if pid:
                return os.waitpid(pid, 0)[1]
            try:
                act()
                gc.collect()
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)

        CALLS["restore"] = (None,)
        for name in (*PV, *ARM, *HAP):
            p2m = build(name, guest_of(name))
            tools = getattr(p2m, "tools", None)
            pool = p2m.pool
            frames = np.arange(p2m.guest.covered_pfn, dtype=np.uint64)
            before = p2m.lookup(frames)

            def act():
                all_refused(p2m)
                refused(pool.words, 0, np.uint64)
                if name in ARM:
                    refused(Tracer(p2m).start)
                if tools is not None:
                    refused(tools.rebuild)
                p2m.close()
                with build(name, p2m.guest) as fresh:
                    fresh.audit()
                p2m.__dict__.clear()

            assert child(act) == 0, name
            assert (p2m.lookup(frames) == before).all(), name
            p2m.audit()
            p2m.close()
    """,
    "first use": """
        from threading import Barrier
        for name in ("pv-tree", "pv-linear"):
            for what in ("m2p", "tools"):
                for _ in range(5):
                    with build(name, pv()) as p2m:
                        barrier, found = Barrier(8), []
                        def take():
                            barrier.wait()
                            found.append(getattr(p2m, what))
                        threads = [Thread(target=take) for _ in range(8)]
                        [thread.start() for thread in threads]
                        [thread.join() for thread in threads]
                        assert len(found) == 8 and len(set(map(id, found))) == 1, what
    """,
    "close meanwhile": """
        import time

        def raced(p2m, use, end):
            ends = []
            def run():
                try:
                    while True:
                        use()
                except Exception as error:
                    ends.append(error)
            threads = [Thread(target=run) for _ in range(2)]
            [thread.start() for thread in threads]
            time.sleep(0.05)
            end()
            [thread.join() for thread in threads]
            assert len(ends) == 2 and all(isinstance(error, ClosedError) for error in ends), ends

        rng = np.random.default_rng(1)
        for name in ("pv-tree", "pv-linear"):
            for ask in ("lookup", "set", "audit"):
                p2m = build(name, pv())
                pfns = rng.integers(0, 16384, 300_000).astype(np.uint64)
                mfns = p2m.lookup(pfns)
                uses = {
                    "lookup": lambda: p2m.lookup(pfns), "set": lambda: p2m.set(pfns, mfns), "audit": p2m.audit
                }
                uses[ask]()
                raced(p2m, uses[ask], p2m.close)
        for name in ARM:
            p2m = build(name, arm())
            pfns = rng.integers(524288, 540672, 300_000).astype(np.uint64)
            tracer = Tracer(p2m)
            tracer.start()
            use = {"arm-walk": lambda: p2m.lookup(pfns)}.get(name, lambda: tracer.write(pfns))
            use()
            raced(p2m, use, p2m.close)
        guest = arm()
        for close in ("source", "user"):
            source = build("arm-walk-direct", guest)
            user = build("arm-walk-direct", guest, like=source)
            raced(user, lambda: user.lookup(pfns), source.close if close == "source" else user.close)
        p2m = build("arm-vlpt", guest)
        thread = Thread(target=lambda: [p2m.lookup(pfns) for _ in range(30)])
        thread.start()
        time.sleep(0.02)
        p2m.cleanup()
        thread.join()
        assert p2m.lookup([524288]).tolist() == [0]
        window = VlptWindow()
        p2m = build("arm-vlpt", guest, window=window)
        raced(p2m, lambda: p2m.lookup(pfns), window.close)
    """,
    "by turns": """
        window = VlptWindow()
        domains = [build("arm-vlpt", arm(n), domid=n, window=window) for n in (1, 2)]
        # A walk through map slots writes them.
        for name in ARM[:2]:
            domains += [build(name, arm(3))] * 2
        wrong = []
        def run(p2m):
            pfns = np.random.default_rng(1).integers(524288, 540672, 20_000).astype(np.uint64)
            expected = p2m.guest.entries(pfns)
            for _ in range(100):
                wrong.append(int((p2m.lookup(pfns) != expected).sum()))
                wrong.append(p2m.lookup_path(int(pfns[0])).entry != int(expected[0]))
        threads = [Thread(target=run, args=(p2m,)) for p2m in domains]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(wrong) == 1200 and not any(wrong), wrong
        for p2m in domains:
            p2m.audit()
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_used_that_is_gone(case: str) -> None:
    child = run_started(_HEAD + dedent(CASES[case]))
    assert child.returncode == 0, child.stderr[-2000:]
