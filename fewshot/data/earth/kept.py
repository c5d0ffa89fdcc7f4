"""What was simulated once is kept in the program's cache, for as long as the simulator is the same."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.files import cache_folder, write_whole

Arrays = Mapping[str, npt.NDArray[Any]]


def simulated_once(asked: tuple[object, ...], make: Callable[[], Arrays], *, code: Path) -> Arrays:
    """Return what `make` simulates, from the cache where it is there.

    Args:
        asked: What tells it from others; its `repr` is compared.
        make: Returns arrays by name.
        code: The file of `make`; what another version of it simulated is not taken.
    """
    name = hashlib.sha256(repr((simulator(code), *asked)).encode()).hexdigest()[:20]
    file = cache_folder() / code.stem / f"{name}.npz"
    if not file.exists():
        made = make()
        write_whole(file, lambda path: np.savez_compressed(path, allow_pickle=False, **made))
    with np.load(file) as kept:
        return dict(kept)


@cache
def simulator(code: Path) -> str:
    """Return what tells this version of the simulator from others: a digest of its code, and of the file `code`."""
    files = [code, *sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
