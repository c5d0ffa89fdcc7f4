"""Pictures that are kept one after the other, to be gone through together some rows at a time."""

import io
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.files import cache_folder

FloatArray = npt.NDArray[np.float32]

_IN_MEMORY = 32 << 20
"""Bytes that are kept in memory; more go to a file of the cache folder, which has no name and ends with the spool."""


class Spool:
    """Pictures of one size, in memory or in a file: a window of each of many dates, read once."""

    def __init__(self, most: int, shape: tuple[int, int, int]) -> None:
        """Begin with none.

        Args:
            most: Pictures that will come.
            shape: Of each, [H, W, bands].

        Raises:
            RasterError: if a file is needed and cannot be made.
        """
        self._shape, self._count = shape, 0
        self._file: IO[bytes] = io.BytesIO()
        if 4 * most * int(np.prod(shape)) > _IN_MEMORY:
            folder = cache_folder()
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = TemporaryFile(dir=folder)
            except OSError as error:
                raise _no_room(folder, error) from error

    def __enter__(self) -> "Spool":
        """Use it for a while."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the pictures."""
        self._file.close()

    def add(self, picture: FloatArray) -> None:
        """Keep one more.

        Raises:
            RasterError: if there is no room on the disk.
        """
        try:
            self._file.write(np.ascontiguousarray(picture).data.cast("B"))
            self._file.flush()
        except OSError as error:
            raise _no_room(cache_folder(), error) from error
        self._count += 1

    def rows(self, first: int, count: int) -> FloatArray:
        """Return rows of all pictures [pictures, count, W, bands]."""
        height, width, bands = self._shape
        found = np.empty((self._count, count, width, bands), np.float32)
        for number, picture in enumerate(found):
            self._file.seek(4 * width * bands * (number * height + first))
            picture.ravel()[:] = np.frombuffer(self._file.read(picture.nbytes), np.float32)
        return found


def _no_room(folder: Path, error: OSError) -> RasterError:
    return RasterError(
        f"dates that are read together are kept in {folder} for a while, which cannot be written to: {error}. Make "
        "room there, or name another folder in FEWSHOT_CACHE"
    )
