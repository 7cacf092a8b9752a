"""The kernel build of the 2014 commit as published, and what has been published that its numbers need.

One run of each kernel is published, on a Dell Latitude E6440 in a 64-bit dom0. The configuration of the
kernel that was built, its compiler, the number of jobs and the version of Xen are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from p2mperf.errors import BadInputError, shown
from p2mperf.units import real_number

COMMIT = "Linux, commit 054954eb051f, J. Gross, 28 November 2014"
NOISE = (
    "standard deviations of repeated kernel builds: 1.1 % of system time, 0.3 % of user and of elapsed time"
    " (R. Roberts, Boot-time page size selection for arm64, linux-kernel, October 2024)"
)
# Of a normal distribution, two-sided, 95 %.
_DEVIATIONS = 1.96


@dataclass(frozen=True)
class PublishedTime:
    """One line of the commit's table.

    Attributes
    ----------
    name : str
        As it stands there.
    before_s, after_s : float
        With the tree and with the list, one run each [s].
    deviation : float
        Standard deviation of one run, as a share of it: published of other builds, see `NOISE`.
    """

    name: str
    before_s: float
    after_s: float
    deviation: float

    @property
    def change_s(self) -> float:
        """Change that was published [s]."""
        return self.after_s - self.before_s

    @property
    def noise_s(self) -> float:
        """Half the width of the 95 % interval of the difference of two runs [s]."""
        return _DEVIATIONS * sqrt(2) * self.deviation * self.before_s

    def pairs_for(self, change_s: float) -> int:
        """Count the pairs of runs after which an interval of 95 % is no wider to either side than a change.

        Parameters
        ----------
        change_s : float
            The change, of either sign [s].

        Returns
        -------
        int

        Raises
        ------
        BadInputError
            For no change at all.

        Examples
        --------
        >>> SYSTEM.pairs_for(-20), USER.pairs_for(-30)  # (33 / 20)**2 = 2.7, (52 / 30)**2 = 3.0
        (3, 3)
        """
        size = abs(real_number(change_s, "a change"))
        if not 0 < size < float("inf"):
            raise BadInputError(f"no number of pairs shows a change of {shown(change_s)} s")
        return ceil((self.noise_s / size) ** 2)


ELAPSED = PublishedTime("Elapsed time", 32 * 60 + 50.0, 32 * 60 + 35.0, 0.003)
SYSTEM = PublishedTime("System", 18 * 60 + 7.0, 17 * 60 + 47.0, 0.011)
USER = PublishedTime("User", 104 * 60 + 0.0, 103 * 60 + 30.0, 0.003)
PUBLISHED_TIMES = (ELAPSED, SYSTEM, USER)

# Of the four hardware threads: (104:00 + 18:07) / 32:50.
N_BUSY_THREADS = (USER.before_s + SYSTEM.before_s) / ELAPSED.before_s


@dataclass(frozen=True)
class CountedBuild:
    """A kernel build whose page faults somebody counted.

    Attributes
    ----------
    n_faults : float
        Its page faults.
    user_s : float
        Its user time [s].
    factor : float
        By how much another build of that time may fault more or less often, at 95 %.
    source : str
        Who says so.
    """

    n_faults: float
    user_s: float
    factor: float
    source: str

    def faults_of(self, user_s: float) -> tuple[float, float, float]:
        """Scale to the user time of another build.

        Parameters
        ----------
        user_s : float
            Its user time [s].

        Returns
        -------
        low, middle, high : float
            Page faults; the ends by `factor`.
        """
        middle = self.n_faults / self.user_s * user_s
        return middle / self.factor, middle, middle * self.factor


ANCHOR = CountedBuild(
    n_faults=31.49e6,
    user_s=1079.0,
    # From 18 to 47 thousand faults a user-second; newer builds have 36 thousand a second of CPU time.
    factor=1.6,
    source="31.49 million faults in 1079 s of user time: Linux 4.13 built with 8 threads by the Phoronix test"
    " suite (mvermeulen.org, 2017)",
)


def as_clock(seconds: float) -> str:
    """Write a time as the commit does.

    Parameters
    ----------
    seconds : float
        Time [s].

    Returns
    -------
    str
        Minutes and seconds.

    Examples
    --------
    >>> as_clock(SYSTEM.before_s), as_clock(USER.after_s), as_clock(-3.6)
    ('18:07', '103:30', '-0:04')
    """
    whole = round(abs(seconds))
    return f"{'-' * (seconds < 0 and whole > 0)}{whole // 60}:{whole % 60:02d}"
