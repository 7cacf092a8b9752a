"""The C twins: compiled when needed, called through ctypes, and their machine code counted."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.kernels import assembly

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
SOURCE = Path(__file__).with_name("twins.c")
KINDS = {"pv-linear": "list", "pv-tree": "tree"}
KINDS |= {f"hap-{way}{size}": f"hap_{way}" for way in ("walk", "linear") for size in ("", "-2m", "-4k")}
_KINDS_OF_CODE = {
    "gathers": r"\bv?p?gather",
    "zmm": r"%zmm",
    "ymm": r"%ymm",
    "prefetches": r"^prefetch",
    "calls": r"^call",
}


class NoCompilerError(RuntimeError):
    """gcc is not installed."""

    def __init__(self) -> None:
        super().__init__("the twins need gcc: install it (Debian and Ubuntu: apt install gcc)")


def compiler() -> str | None:
    """Where gcc is; None where it is not installed."""
    return shutil.which("gcc")


def require_compiler() -> None:
    """Raise a NoCompilerError where gcc is not installed."""
    if not compiler():
        raise NoCompilerError


def compiler_version() -> str:
    """First line of ``gcc --version``."""
    return _output("gcc", "--version").splitlines()[0]


def compile_twins(directory: Path, source: Path = SOURCE) -> Path:
    """Compile twins for this processor.

    Parameters
    ----------
    directory : Path
        Where the shared library goes.
    source : Path
        The C file.

    Returns
    -------
    Path
        The library.
    """
    library = directory / f"{source.stem}.so"
    _output("gcc", *FLAGS, "-o", str(library), str(source))
    return library


class Twin:
    """One loop of the library, bound to a design's tables.

    Parameters
    ----------
    library : Path
        From `compile_twins`.
    design : Design
        One of those in `KINDS`; its tables are read in place.
    operation : str
        "latency" or "throughput".
    """

    def __init__(self, library: Path, design: Any, operation: str) -> None:
        self._words = np.array([int(word) for word in design.tables], np.uint64)
        self._tables = _address(self._words)
        self._loop = ctypes.CDLL(str(library))[symbol(design, operation)]
        self._loop.restype = ctypes.c_uint64
        self._loop.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]

    def __call__(self, stream: NDArray[np.uint64]) -> int:
        return int(self._loop(self._tables, _address(stream), stream.size, 0))


def _address(array: NDArray[np.uint64]) -> int:
    return int(array.__array_interface__["data"][0])  # a microsecond faster than array.ctypes


def symbol(design: Any, operation: str) -> str:
    """Name of a twin in the library."""
    return f"{KINDS[design.name]}_{operation}_{design.guest.geometry.entry_bits}"


def twin_code(library: Path, design: Any, operation: str) -> dict[str, int]:
    """Count the machine code of a twin, by objdump; empty where that is not installed."""
    if shutil.which("objdump") is None:
        return {}
    name = symbol(design, operation)
    text = _output("objdump", "-d", "--no-show-raw-insn", f"--disassemble={name}", str(library))
    return count_code(re.findall(r"^\s+[0-9a-f]+:\s+(\S.*)$", text, re.MULTILINE))


def numba_code(kernel: Any, design: Any) -> dict[str, int]:
    """Count the machine code of a compiled loop."""
    text = assembly(kernel, design.tables)
    return count_code(re.findall(r"^\t([a-z]\S*.*)$", text, re.MULTILINE))


def count_code(instructions: Iterable[str]) -> dict[str, int]:
    """Count instructions, and the kinds among them that make two loops unlike.

    Parameters
    ----------
    instructions : iterable of str
        One in AT&T syntax each, mnemonic first.

    Returns
    -------
    dict of str to int
        ``instructions``, ``gathers``, ``zmm``, ``ymm``, ``prefetches`` and ``calls``.

    Examples
    --------
    >>> count_code(["movq (%rax), %rcx", "vpgatherqq %ymm1, (%rax,%ymm0,8), %ymm2", "callq 1100"])
    {'instructions': 3, 'gathers': 1, 'zmm': 0, 'ymm': 1, 'prefetches': 0, 'calls': 1}
    """
    lines = list(instructions)
    found = {kind: sum(bool(re.search(p, line)) for line in lines) for kind, p in _KINDS_OF_CODE.items()}
    return {"instructions": len(lines), **found}


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr.strip()}")
    return done.stdout
