"""What the command line owes its process: streams that may be closed or full, limits, and Ctrl-C.

A command knows nothing of this. What the machine refuses it (descriptors, memory, disk, a place to write its
answer to) ends here in one sentence and a documented code; what is a fault of ours keeps its traceback.
"""

from __future__ import annotations

import codecs
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from threading import Timer
from typing import TextIO, cast

from p2mperf.cli.installing import missing_dependency
from p2mperf.cli.invocation import look
from p2mperf.errors import DoesNotFitError
from p2mperf.progress import say
from p2mperf.units import GIB, format_size

# What the machine ran out of, by what it says then; what is here does not fit it, which is code 4.
_GIVEN_OUT = {
    errno.EMFILE: "no file descriptor is left to this process: raise `ulimit -n`",
    errno.ENFILE: "no file descriptor is left on this machine",
    errno.ENOMEM: "memory gave out: raise `ulimit -v`, or ask for less",
    errno.EAGAIN: "no further process or thread can be started: raise `ulimit -u`",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than allowed: raise `ulimit -f`",
}
# What the shell may limit, by its flag of `ulimit`, and what all libraries were seen to need [bytes].
_MEMORY_LIMITS = {resource.RLIMIT_AS: "v", resource.RLIMIT_DATA: "d"}
_LIBRARIES_BYTES = 1 * GIB
_SOON_SECONDS = 0.01
# How the dynamic loader says that a library did not find room; its errors carry no number.
_NO_ROOM = ("failed to map segment", "cannot allocate memory")


class _NotWrittenError(Exception):
    """The answer cannot be written; its cause says why. No OSError, which others would take for theirs."""


class _Answer:
    """Standard output whose errors are told from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _NotWrittenError from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _NotWrittenError from error

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _Talk:
    """Standard error that loses what cannot be written: nobody is left to be told."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            _lose(self._stream)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def require_address_space() -> None:
    """Refuse to begin under a limit that libraries do not survive.

    Those in C meet it by a hang, a SIGSEGV, or an exit with words and a code of their own, as OpenBLAS does.

    Raises
    ------
    DoesNotFitError
        When the shell allows this process less than they take.
    """
    for limit, flag in _MEMORY_LIMITS.items():
        n_bytes, _ = resource.getrlimit(limit)
        if n_bytes == resource.RLIM_INFINITY:
            continue
        if n_bytes < _LIBRARIES_BYTES:
            raise DoesNotFitError(
                f"the libraries need {format_size(_LIBRARIES_BYTES)} of address space and `ulimit -{flag}` "
                f"allows {format_size(n_bytes)}: raise it"
            )
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each of its threads would take 40 MiB of that


def run(main: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run the command line as this process.

    Parameters
    ----------
    main : callable
        Takes the arguments, and gives an exit code.
    argv : list of str
        Arguments after the program's name.

    Returns
    -------
    int
        Exit code: that of `main`; 1 when its answer could not be written, 4 when the machine ran out of
        something, 2 without a working directory or a package that is needed, or for a name that is too long,
        130 when interrupted.
    """
    _prepare_streams()
    look()
    sys.unraisablehook = _tell_or_repeat
    try:
        code = _answered(main, argv)
    except KeyboardInterrupt:
        code = 130
        _lose(sys.stdout)
    # The code stands; an impatient second Ctrl-C would only put a traceback under it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _tell_or_repeat(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that came where nothing can be raised, as in a callback or a destructor."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        # At once it would be raised here, and lost too.
        Timer(_SOON_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def _answered(main: Callable[[list[str]], int], argv: list[str]) -> int:
    code = 0
    try:
        try:
            code = main(argv)
        except (OSError, MemoryError, ImportError) as error:
            code = _code_of(error)
        except SystemExit as done:  # --help of a command
            code = int(done.code or 0)
        sys.stdout.flush()
    except _NotWrittenError as error:
        _lose(sys.stdout)
        # The reader (head, less) may have seen enough; and what was wrong before has been said.
        if not isinstance(error.__cause__, BrokenPipeError) and not code:
            say(f"cannot write to standard output: {os.strerror(getattr(error.__cause__, 'errno', 0) or 0)}")
            code = 1
    return code


def _prepare_streams() -> None:
    """Leave no standard descriptor free: the next file opened would be written to as if it were stdout."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # Read-only: what is written to a stdout that nobody has is an error, as on a full disk.
            _open_as(number, os.O_WRONLY if number == 2 else os.O_RDONLY)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    codecs.register_error("p2mperf", _as_it_came)
    # A path that the locale cannot say is written as the bytes it came in, or escaped.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="p2mperf")
    sys.stdout = cast("TextIO", _Answer(sys.stdout))
    sys.stderr = cast("TextIO", _Talk(sys.stderr))


def _as_it_came(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _open_as(number: int, flags: int) -> None:
    found = os.open(os.devnull, flags)
    if found != number:
        os.dup2(found, number)
        os.close(found)


def _lose(stream: TextIO) -> None:
    """Let what is still in a stream's buffer go nowhere, when Python flushes it at exit."""
    try:
        _open_as(stream.fileno(), os.O_WRONLY)
    except (OSError, ValueError):  # no descriptor left to open, or a stream that has none
        return


def _code_of(error: OSError | MemoryError | ImportError) -> int:
    """Say what the machine refused, and give the exit code; what is a fault of ours is raised again."""
    if isinstance(error, FileNotFoundError) and _has_no_directory():
        say("the working directory is gone: change to another")
        return 2
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        say("a name among the arguments is longer than a file's can be")
        return 2
    if isinstance(error, ImportError) and (sentence := missing_dependency(error)):
        say(sentence)
        return 2
    reason = _reason(error)
    if not reason:
        raise error
    say(reason)
    return 4


def _reason(error: OSError | MemoryError | ImportError) -> str:
    if isinstance(error, OSError) and error.errno in _GIVEN_OUT:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"{where}{_GIVEN_OUT[error.errno]}"
    if isinstance(error, MemoryError):
        return " ".join(f"{_GIVEN_OUT[errno.ENOMEM]}: {error}".split()).rstrip(": ")
    # The compiler's library says it in the error that it answers with another.
    told: BaseException | None = error
    while told is not None:
        if any(words in str(told).lower() for words in _NO_ROOM):
            return "there is not enough memory to load the libraries: raise `ulimit -v`"
        told = told.__cause__ or told.__context__
    return ""


def _has_no_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
