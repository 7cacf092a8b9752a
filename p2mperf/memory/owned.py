"""What owns raw memory, or knows addresses of it: there is one of each, and no copy."""

from __future__ import annotations

import os
from typing import ClassVar, NoReturn, Protocol

from numpy.typing import NDArray

from p2mperf.errors import BadInputError, ClosedError
from p2mperf.memory import vm


class Owned:
    """Refuses to be copied or pickled.

    A copy would have the addresses and none of the memory behind them: closing it, or letting it go, would
    unmap under the original; in another process its addresses mean nothing.
    """

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse what copy.copy, copy.deepcopy and pickle all ask for.

        Raises
        ------
        BadInputError
            Always.
        """
        raise BadInputError(
            f"{type(self).__name__} holds raw memory and cannot be copied or pickled: build it again from "
            "the same guest"
        )


class Process:
    """The process that this is.

    Attributes
    ----------
    pid : int
        Its number, kept because to ask for it costs as much as all else that is done at a door.
    """

    pid: ClassVar[int] = os.getpid()

    @classmethod
    def note(cls) -> None:
        """Look again which it is: in a fork's child."""
        cls.pid = os.getpid()


os.register_at_fork(after_in_child=Process.note)


def require_own_process(pid: int, what: str) -> None:
    """See that this is the process that has built something: a fork's child would write into its parent's.

    Parameters
    ----------
    pid : int
        Of the process that has.
    what : str
        What it is.

    Raises
    ------
    ClosedError
        When it is another one.
    """
    if Process.pid != pid:
        raise ClosedError(f"this {what} belongs to the process that built it: build another one here")


class _Mapping(Protocol):
    """What owns address space; None once it was closed."""

    mapped: Mapped | None


class Mapped(Owned):
    """Address space that is unmapped once neither its owner nor any view of it is left.

    Parameters
    ----------
    address, n_bytes : int
        What was mapped or reserved [bytes].

    Examples
    --------
    >>> import numpy as np
    >>> mapped = Mapped(vm.map_pages(0, 4096, vm.READ_WRITE), 4096)
    >>> words = mapped.view(0, 4096, np.uint64)
    >>> del mapped
    >>> int(words[511])
    0
    """

    def __init__(self, address: int, n_bytes: int) -> None:
        self.address, self.n_bytes = address, n_bytes

    @classmethod
    def of(cls, owner: _Mapping) -> Mapped:
        """What an open owner has mapped: whoever knows addresses of it keeps this, so that it stays there.

        Raises
        ------
        ClosedError
            When the owner was closed.
        """
        if owner.mapped is None:
            raise ClosedError(f"this {type(owner).__name__} is closed: build the design again")
        return owner.mapped

    def view(self, offset: int, n_bytes: int, dtype: type[vm.Word]) -> NDArray[vm.Word]:
        """Look at a part of it as an array, which keeps all of it mapped.

        Parameters
        ----------
        offset, n_bytes : int
            The part [bytes].
        dtype : type of numpy
            Type of a word.

        Returns
        -------
        ndarray, shape (n_bytes / itemsize,)
            A view, not a copy.
        """
        # Frames come as numpy's integers too, which ctypes takes for no address.
        return vm.view(self.address + int(offset), int(n_bytes), dtype, keeping=self)

    def __del__(self) -> None:
        vm.unmap(self.address, self.n_bytes)
