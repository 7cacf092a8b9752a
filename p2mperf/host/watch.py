"""What else goes on on a machine while it measures: seen, told and recorded, and never changed.

A timing is spoilt by what no table has to do with: work of others, a memory daemon that clears accessed bits,
pages that are collapsed or moved, a hypervisor that takes the CPU away, a clock that changes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Self

from p2mperf.host.probes import Root, load_average, read_number, read_text, running_tasks, steal_ticks

# Half a task beside ours shows in every interval; waiting for it to end is cheaper.
BUSY_LOAD = 0.5
# While we measure, one unit at a time, we are one of the tasks.
_OWN_LOAD = 1
# Of the time that CPUs wanted to run: what is lost in less is a few rounds, which are flagged.
STEAL_SHARE = 0.01
_LONGEST_NAME = 100

_DAMON = "sys/kernel/mm/damon/admin/kdamonds"
_KHUGEPAGED = "sys/kernel/mm/transparent_hugepage/khugepaged"
_CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
_BOOST = "sys/devices/system/cpu/cpufreq/boost"
_NO_TURBO = "sys/devices/system/cpu/intel_pstate/no_turbo"


@dataclass(frozen=True)
class Snapshot:
    """What a machine is busy with at one moment; None is what it does not tell.

    Attributes
    ----------
    load_average : tuple of float
        Tasks that ran or waited to run, over 1, 5 and 15 minutes.
    n_running : float
        Tasks beside ours that ran or waited to run just then.
    damon : bool
        Whether DAMON, which watches memory by clearing accessed bits, is at work.
    n_khugepaged_collapsed, n_khugepaged_scans : int
        2 MiB pages that khugepaged has made of small ones, and its passes over all memory, since boot.
    numa_balancing : int
        0 when the kernel moves no pages to the CPUs that use them.
    n_numa_hint_faults, n_numa_pages_migrated : int
        Faults that it causes to learn who uses a page, and pages it moved, since boot.
    n_steal_ticks, n_busy_ticks : int
        Clock ticks of all CPUs that the hypervisor gave to others, and that were used here, since boot.
    governor : str
        What sets the clock frequency of the first CPU.
    boost : bool
        Whether the clock may rise above its nominal frequency while heat allows it.
    """

    load_average: tuple[float, ...] | None = None
    n_running: float | None = None
    damon: bool | None = None
    n_khugepaged_collapsed: int | None = None
    n_khugepaged_scans: int | None = None
    numa_balancing: int | None = None
    n_numa_hint_faults: int | None = None
    n_numa_pages_migrated: int | None = None
    n_steal_ticks: int | None = None
    n_busy_ticks: int | None = None
    governor: str | None = None
    boost: bool | None = None

    @property
    def load(self) -> float | None:
        """Tasks that ran for a minute, or that run now if those are fewer: what has ended spoils nothing."""
        if self.load_average is None or self.n_running is None:
            return self.load_average[0] if self.load_average else None
        return min(self.load_average[0], self.n_running)

    def to_json(self) -> dict[str, object]:
        """Plain data of what is known, under the names that a machine card has for it."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read a machine card, or what `to_json` made; what is missing, or of another kind, is unknown."""
        table = data if isinstance(data, dict) else {}
        return cls(
            load_average=_loads(table.get("load_average")),
            n_running=_number(table.get("n_running")),
            damon=_flag(table.get("damon")),
            n_khugepaged_collapsed=_whole(table.get("n_khugepaged_collapsed")),
            n_khugepaged_scans=_whole(table.get("n_khugepaged_scans")),
            numa_balancing=_whole(table.get("numa_balancing")),
            n_numa_hint_faults=_whole(table.get("n_numa_hint_faults")),
            n_numa_pages_migrated=_whole(table.get("n_numa_pages_migrated")),
            n_steal_ticks=_whole(table.get("n_steal_ticks")),
            n_busy_ticks=_whole(table.get("n_busy_ticks")),
            governor=_name(table.get("governor")),
            boost=_flag(table.get("boost")),
        )


# What had been stolen and used then.
BOOT = Snapshot(n_steal_ticks=0, n_busy_ticks=0)


@dataclass(frozen=True)
class Unrest:
    """Something that spoils timings.

    Attributes
    ----------
    name : str
        What it is: load, DAMON, khugepaged, NUMA balancing, steal or clock.
    seen : str
        What was found, as the beginning of a sentence that may stand within another.
    matters : str
        Which numbers it changes, and how.
    advice : str
        What one can do; nothing is done by itself.
    """

    name: str
    seen: str
    matters: str
    advice: str

    def __str__(self) -> str:
        return f"{self.seen[0].upper()}{self.seen[1:]}: {self.matters}; {self.advice}."


def snapshot(root: Root = "/") -> Snapshot:
    """Look at a machine, but for who runs just then: see `running_beside`.

    Parameters
    ----------
    root : str or Path
        Where /proc and /sys are found.

    Returns
    -------
    Snapshot
    """
    counters = _counters(root)
    loads = load_average(root)
    return Snapshot(
        load_average=tuple(loads) if loads else None,
        damon=_damon(Path(root)),
        n_khugepaged_collapsed=read_number(root, f"{_KHUGEPAGED}/pages_collapsed"),
        n_khugepaged_scans=read_number(root, f"{_KHUGEPAGED}/full_scans"),
        numa_balancing=read_number(root, "proc/sys/kernel/numa_balancing"),
        n_numa_hint_faults=counters.get("numa_hint_faults"),
        n_numa_pages_migrated=counters.get("numa_pages_migrated"),
        n_steal_ticks=steal_ticks(root),
        n_busy_ticks=_busy_ticks(root),
        governor=read_text(root, f"{_CPUFREQ}/scaling_governor"),
        boost=_boost(root),
    )


def running_beside(card: object, root: Root = "/") -> float | None:
    """See who runs just now, where the last minute was busy.

    Not part of every look: it takes half a second, and means something only while nothing of ours runs.

    Parameters
    ----------
    card : dict
        Machine card of just now.
    root : str or Path
        Where /proc is found.

    Returns
    -------
    float or None
        The card's ``n_running``; None where nobody was looked for.
    """
    return running_tasks(root) if (Snapshot.from_json(card).load or 0) >= BUSY_LOAD else None


def unrest(start: Snapshot, end: Snapshot | None = None) -> list[Unrest]:
    """Say what spoils timings, or spoilt those between two moments.

    Parameters
    ----------
    start : Snapshot
        Before measuring, or now.
    end : Snapshot, optional
        After measuring. Without it no counter is judged: what it counted may be long ago.

    Returns
    -------
    list of Unrest
        At most one of each name; empty for a quiet machine. What is unknown is no unrest.
    """
    found = (_load, _daemon, _collapsing, _moving, _stealing, _clock)
    return [one for look in found if (one := look(start, end))]


def steal_share(start: Snapshot, end: Snapshot | None = None) -> float | None:
    """Share of the time that CPUs wanted to run which the hypervisor gave to others.

    Parameters
    ----------
    start, end : Snapshot
        Between these two; with the first alone, since boot.

    Returns
    -------
    float or None
        From 0 to 1; None when it is not known, or no CPU ran.
    """
    before, after = (start, end) if end else (BOOT, start)
    stolen = _grown("n_steal_ticks", before, after)
    busy = _grown("n_busy_ticks", before, after)
    if stolen is None or busy is None or not stolen + busy:
        return None
    return stolen / (stolen + busy)


def _load(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    """Work of others: what went on at the start, or, beside ours, in the last minute."""
    if start.load_average and (start.load or 0) >= BUSY_LOAD:
        ran = f"{start.load_average[0]:g} tasks ran on average for a minute"
    elif end and end.load_average and end.load_average[0] >= _OWN_LOAD + BUSY_LOAD:
        ran = f"{end.load_average[0]:g} tasks ran on average for a minute, ours among them"
    else:
        return None
    return Unrest(
        "load",
        f"the machine was not idle ({ran})",
        "other work takes caches and time, and widens every interval",
        "wait until it has ended",
    )


def _daemon(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    if not (start.damon or (end and end.damon)):
        return None
    return Unrest(
        "DAMON",
        "DAMON watches memory (a kdamond thread)",
        "it clears accessed bits, so that every 4 KiB page costs once more when it is next used: tables on "
        "4 KiB pages look slower than they are, those of large guests most",
        f"as root: echo off > /{_DAMON}/N/state, for each N there, or echo N > "
        "/sys/module/damon_*/parameters/enabled for the module that started it",
    )


def _collapsing(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    n_made = _grown("n_khugepaged_collapsed", start, end) if end else None
    if not n_made:
        return None
    return Unrest(
        "khugepaged",
        f"khugepaged made 2 MiB pages of small ones ({n_made} while this was measured)",
        "memory that was on 4 KiB pages in one round may be faster in the next, and copying takes time",
        f"as root: echo 3600000 > /{_KHUGEPAGED}/scan_sleep_millisecs",
    )


def _moving(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    if not (start.numa_balancing or (end and end.numa_balancing)):
        return None
    counts = ""
    if end:
        n_faults, n_moved = (
            _grown(name, start, end) for name in ("n_numa_hint_faults", "n_numa_pages_migrated")
        )
        counts = f" ({_count(n_faults)} faults and {_count(n_moved)} pages moved while this was measured)"
    return Unrest(
        "NUMA balancing",
        f"the kernel moves pages to the CPUs that use them{counts}",
        "it unmaps pages to see who uses them: their next use is a fault, and large tables get slow rounds",
        "as root: sysctl kernel.numa_balancing=0",
    )


def _stealing(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    share = steal_share(start, end) if end else None
    if share is None or share < STEAL_SHARE:
        return None
    return Unrest(
        "steal",
        f"the hypervisor gave {share:.1%} of the CPU time wanted here to others",
        "passes that it interrupts look slow, and caches are cold after it",
        "measure when the host is less busy, or on CPUs of your own",
    )


def _clock(start: Snapshot, end: Snapshot | None) -> Unrest | None:
    looks = [look for look in (start, end) if look]
    governor = next((look.governor for look in looks if look.governor not in (None, "performance")), None)
    if governor is None and not any(look.boost for look in looks):
        return None
    facts = [f"the cpufreq governor is {governor}"] * bool(governor)
    advice = [f"echo performance > /{_CPUFREQ.replace('cpu0', 'cpuN')}/scaling_governor for each N"] * bool(
        governor
    )
    if any(look.boost for look in looks):
        facts.append("boost is on")
        advice.append(f"echo 0 > /{_BOOST}, or echo 1 > /{_NO_TURBO}")
    return Unrest(
        "clock",
        f"the clock frequency may change while measuring ({' and '.join(facts)})",
        "times in ns are of no one frequency, and two runs differ in it; paired ratios bear it best",
        f"as root: {', and '.join(advice)}",
    )


def _grown(name: str, start: Snapshot, end: Snapshot) -> int | None:
    before, after = getattr(start, name), getattr(end, name)
    return None if before is None or after is None else max(after - before, 0)


def _count(number: int | None) -> str:
    return "an unknown number of" if number is None else str(number)


def _damon(root: Path) -> bool | None:
    """Whether any kdamond runs: its thread shows to all, what sysfs says of it to root alone."""
    if any(read_text(path, "state") == "on" for path in (root / _DAMON).glob("[0-9]*")):
        return True
    names = {read_text(path, "comm") or "" for path in (root / "proc").glob("[0-9]*")}
    if any(name.startswith("kdamond") for name in names):
        return True
    # In a container, or where /proc hides what is others', no thread of the kernel shows.
    return False if "kthreadd" in names else None


def _boost(root: Root) -> bool | None:
    if (boost := read_number(root, _BOOST)) is not None:
        return bool(boost)
    no_turbo = read_number(root, _NO_TURBO)
    return None if no_turbo is None else not no_turbo


def _counters(root: Root) -> dict[str, int]:
    lines = (line.split() for line in (read_text(root, "proc/vmstat") or "").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}


def _busy_ticks(root: Root) -> int | None:
    """Ticks of user, nice, system, irq and softirq; guests of ours are part of user (proc(5))."""
    words = (read_text(root, "proc/stat") or "").split("\n")[0].split()
    if len(words) < 8 or not all(word.isdecimal() for word in words[1:8]):
        return None
    return sum(int(words[place]) for place in (1, 2, 3, 6, 7))


# Values of a table that may be anybody's; None for what is of another kind.


def _loads(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple) or not value:
        return None
    numbers = [number for each in value if (number := _number(each)) is not None]
    return tuple(numbers) if len(numbers) == len(value) else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if 0 <= value < inf else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _name(value: object) -> str | None:
    return (
        value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable() else None
    )
