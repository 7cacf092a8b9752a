"""Long lives of random operations: all PV and ARM designs against their oracles, after each step.

A few hundred operations in the suite. `-m slow` does 20 000 at each width, and 20 000 beginning with each ARM
design; P2MPERF_OPERATIONS takes another number, P2MPERF_SEED another seed than 1. What fails says in which
life, at which operation, and what was done before; the same seed does the same again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from paired_arm import ARM_OPERATIONS, DESIGNS as ARM_DESIGNS, Scene
from paired_lives import ENTRY_KINDS, Pairs

from p2mperf.errors import BadInputError

ASKED = os.environ.get("P2MPERF_SEED")
SEED = int(ASKED or 1)
MANY = int(os.environ.get("P2MPERF_OPERATIONS", "20000"))
FEW = 100
SHORT, LONG = 50, 250  # operations in one life


def operations(of: dict[str, Any], random: Random) -> str:
    """One of them, by its weight."""
    return random.choices(list(of), [weight for weight, _ in of.values()])[0]


class Account:
    """Counts what was done and what came about; says what was done last when something is wrong."""

    def __init__(self, what: str) -> None:
        self.what, self.done, self.reached = what, Counter[str](), Counter[str]()

    def lives(self, n_operations: int, n_in_a_life: int) -> Iterator[tuple[Random, Iterator[None]]]:
        """A source of numbers for each life, and its steps."""
        for first in range(0, n_operations, n_in_a_life):
            self.life, self.last = first // n_in_a_life, list[str]()
            yield (
                Random(f"{SEED}/{self.what}/{self.life}"),
                iter([None] * min(n_in_a_life, n_operations - first)),
            )

    def do(self, name: str, call: Callable[[], object]) -> None:
        self.done[name] += 1
        self.last.append(name)
        try:
            call()
        except BaseException as error:
            where = f"{self.what}, seed {SEED}, life {self.life}, operation {len(self.last)}"
            error.add_note(f"{where}; the last ones were {', '.join(self.last[-12:])}")
            raise

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.done.most_common())
        events = ", ".join(f"{n} {name}" for name, n in self.reached.most_common())
        return (
            f"{self.what}, seed {SEED}: {self.done.total()} operations, no difference\n  {counts}\n  {events}"
        )


# ---- PV: tree, list and oracle ----


def frame(random: Random, leaf: int) -> int:
    """A frame where something is: leaves of each kind and their edges mostly; ends, far beyond, anywhere."""
    mid, kind = leaf * leaf, random.random()
    if kind < 0.7:
        leaves = (0, 2, 3, 4, 7, 8, 12, 19, 20, 21, leaf - 1, leaf, leaf + 1, 2 * leaf, 3 * leaf - 1)
        inside = (0, 1, 2, leaf // 2, leaf // 2 + 3, leaf - 1)
        return random.choice(leaves) * leaf + random.choice(inside)
    if kind < 0.9:
        return random.randrange(24 * leaf if kind < 0.85 else 3 * mid)
    ends = (3 * mid - 1, 3 * mid, 3 * mid + 1, leaf**3 - 1, leaf**3, 2**32 - 1, 2**62 + 5, 2**64 - 1)
    return random.choice(ends)


def frames(random: Random, leaf: int, most: int) -> list[int]:
    """A few of them, and mostly a stretch as well."""
    few = [frame(random, leaf) for _ in range(random.randint(1, 4))]
    n = random.randint(1, most) if random.random() < 0.6 else 1
    return [*range(few[0], min(few[0] + n, 2**64)), *few[1:]]


def within(random: Random, leaf: int) -> int:
    """A frame that begins a range, in the area or somewhat beyond its end."""
    return frame(random, leaf) % (4 * leaf**2)


def write(pairs: Pairs, random: Random) -> None:
    pfns = [frame(random, pairs.leaf) for _ in range(random.randint(1, 8))]
    pairs.set([(pfn, random.choice(ENTRY_KINDS)) for pfn in pfns])


def write_what_cannot_be(pairs: Pairs, random: Random) -> None:
    """All of it is refused, and so nothing of it is done."""
    pfns = [random.randrange(24 * pairs.leaf) for _ in range(3)]
    for p2m, life in pairs.each():
        beyond = p2m.guest.machine.n_frames + random.randrange(1000)
        for call, entries in (
            (p2m.set, [7, beyond, 8]),
            (p2m.set, [7, 8]),
            (p2m.balloon_up, [7, life.identity(8), 9]),
            (p2m.set_foreign, [7, 8]),
        ):
            with pytest.raises(BadInputError):
                call(pfns, entries)
    pairs.note(pfns, "refused whole")


def map_foreign(pairs: Pairs, random: Random) -> None:
    pfns = [frame(random, pairs.leaf) for _ in range(random.randint(1, 6))]
    pairs.foreign(pfns, random.choices(pfns, k=random.randint(0, 4)))


def break_leaves(pairs: Pairs, random: Random) -> None:
    end = pairs.judges[0].end // pairs.leaf
    leaves = [frame(random, pairs.leaf) // pairs.leaf % end for _ in range(random.choice((1, 2, 5, 40)))]
    pairs.break_leaves(list(dict.fromkeys(leaves)))


def ask_back(pairs: Pairs, random: Random) -> None:
    def choose(own: list[int]) -> list[int]:
        some = [random.choice(own or [0]) for _ in range(random.randint(0, 8))]
        return some + [frame(random, pairs.leaf) for _ in range(random.randint(0, 8))]

    pairs.back(choose)


def write_while_saved(pairs: Pairs, random: Random) -> None:
    for p2m in pairs.p2ms:
        for call, arguments in ((p2m.set, ([0], [7])), (p2m.balloon_down, ([0],)), (p2m.save, ())):
            with pytest.raises(BadInputError):
                call(*arguments)
    pairs.reached["refused while saved"] += 1


LENGTHS = (1, 3, 511, 512, 513, 1024, 1500, 4000)
READS = {
    "lookup": (3, lambda p, r: p.read([frame(r, p.leaf) for _ in range(r.choice((1, 3, 300)))])),
    "tools view": (2, lambda p, r: p.tools()),
    "mfn_to_pfn": (2, ask_back),
    "audit": (1, lambda p, r: p.check_all()),
}
WRITES: dict[str, tuple[int, Callable[[Pairs, Random], object]]] = {
    **READS,
    "set": (6, write),
    "set refused": (1, write_what_cannot_be),
    "balloon_down": (4, lambda p, r: p.balloon_down(frames(r, p.leaf, 700))),
    "balloon_up": (4, lambda p, r: p.balloon_up(frames(r, p.leaf, 700))),
    "break_leaves": (2, break_leaves),
    "hotplug": (2, lambda p, r: p.hotplug(within(r, p.leaf), r.randint(1, 1100))),
    "set_identity": (2, lambda p, r: p.set_identity(within(r, p.leaf), r.choice(LENGTHS))),
    "pass_through": (3, lambda p, r: p.pass_through(within(r, p.leaf), r.randint(1, 600), within(r, p.leaf))),
    "set_foreign, clear_foreign": (3, map_foreign),
    "invalidate_extra_memory": (1, lambda p, r: p.invalidate_extra_memory()),
    "rebuild_tools": (1, lambda p, r: p.rebuild_tools()),
    "save": (3, lambda p, r: p.save()),
}
WHILE_SAVED: dict[str, tuple[int, Callable[[Pairs, Random], object]]] = {
    **READS,
    "restore": (3, lambda p, r: p.restore(r.randrange(1000))),
    "write while saved": (2, write_while_saved),
}
PV_EVENTS = (
    *("refused", "refused whole", "ballooned up", "identity range", "hotplug", "foreign set"),
    *("foreign cleared", "passed through", "leaves asked to break", "breaking refused", "tools"),
    *("tools rebuilt", "restored", "m2p", "lookup", "refused while saved", "extra memory invalidated"),
)


def live_pv(entry_bits: int, n_operations: int, n_in_a_life: int) -> Account:
    account = Account(f"tree and list at {entry_bits} bits")
    for random, steps in account.lives(n_operations, n_in_a_life):
        options: dict[str, Any] = {
            "above": random.choice(("identity", "identity", "invalid")),
            "n_spare": random.choice((None, None, 0, 3, 8, 20, 40)),
            "run_frames": random.choice((0, 4)),
        }
        pairs = Pairs(entry_bits, account.reached, **options)
        if random.random() < 0.5:
            pairs.keep_m2p()
        for _ in steps:
            name = operations(WHILE_SAVED if pairs.saved else WRITES, random)

            def step(name: str = name, pairs: Pairs = pairs, random: Random = random) -> None:
                (WRITES | WHILE_SAVED)[name][1](pairs, random)
                pairs.agree()

            account.do(name, step)
        account.do("audit", pairs.check_all)
        pairs.close()
    return account


def missed_by_pv(accounts: list[Account]) -> set[str]:
    found = sum((account.done + account.reached for account in accounts), Counter[str]())
    return {*PV_EVENTS, *WRITES, *WHILE_SAVED} - set(+found)


def test_some_random_operations_on_tree_list_and_oracle() -> None:
    accounts = [live_pv(entry_bits, FEW, SHORT) for entry_bits in (64, 32)]
    # With another seed so few may miss something.
    assert ASKED or not missed_by_pv(accounts)


@pytest.mark.slow
@pytest.mark.parametrize("entry_bits", [64, 32])
def test_20_000_random_operations_on_tree_list_and_oracle(entry_bits: int, tell: Any) -> None:
    account = live_pv(entry_bits, MANY, LONG)
    assert not missed_by_pv([account])
    tell(account)


# ---- ARM: all designs over tables and windows that they share ----

ARM_EVENTS = (
    *("protected", "unprotected", "faults", "cleaned", "made read-only or writable", "write outside RAM"),
    *("domain in the same window", "closed", "restore", "switch_to", "cleanup", "prepare", "slots rewritten"),
)


def live_arm(design: str, n_operations: int, n_in_a_life: int) -> Account:
    account = Account(f"ARM, {design} first")
    for random, steps in account.lives(n_operations, n_in_a_life):
        scene = Scene(design, random, account.reached)
        for _ in steps:
            name = operations(ARM_OPERATIONS, random)

            def step(
                act: Any = ARM_OPERATIONS[name][1], scene: Scene = scene, random: Random = random
            ) -> None:
                act(scene, random)
                scene.agree(random)

            account.do(name, step)
        for way in scene.ways:
            account.do("audit", way.p2m.audit)
        scene.close(random)
    return account


def missed_by_arm(accounts: list[Account]) -> set[str]:
    found = sum((account.done + account.reached for account in accounts), Counter[str]())
    return {*ARM_EVENTS, *ARM_OPERATIONS} - set(+found)


def test_some_random_operations_on_arm_designs_and_oracle() -> None:
    accounts = [live_arm(design, FEW, SHORT) for design in ARM_DESIGNS]
    assert ASKED or not missed_by_arm(accounts)


@pytest.mark.slow
@pytest.mark.parametrize("design", ARM_DESIGNS)
def test_20_000_random_operations_on_arm_designs_and_oracle(design: str, tell: Any) -> None:
    account = live_arm(design, MANY, LONG)
    likes = {f"{one} like {other}" for one in ARM_DESIGNS for other in ARM_DESIGNS}
    assert not missed_by_arm([account]) | (likes - set(account.reached))
    tell(account)
