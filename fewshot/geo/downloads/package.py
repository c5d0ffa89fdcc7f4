"""Packages: folders, and archives that are read as if they were folders."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fewshot.errors import DamagedDataError

_LARGEST = 64 << 20
"""Bytes of a file that describes a product, far more than it has; an archive may hold what unpacks to any size."""

_UNREADABLE = (
    *(OSError, EOFError, KeyError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    RuntimeError,  # of zipfile: encrypted, or packed in a way that it does not know
)


@dataclass(frozen=True)
class Package:
    """A folder or archive.

    Attributes:
        path: Of it.
        names: Files in it, from its top.
        driver: What GDAL reads such an archive with; "" for a folder.
        named: The file in it that describes the only product that is wanted; "" for all.
    """

    path: Path
    names: tuple[str, ...]
    driver: str = ""
    named: str = ""

    def describing(self, marks: tuple[str, ...]) -> list[str]:
        """Return the files whose names end so: the one that is named, or all that are not hidden."""
        shown = (name for name in self.names if not name.rpartition("/")[2].startswith("."))
        found = [name for name in shown if name.lower().endswith(marks)]
        return [name for name in found if name == self.named] if self.named else found

    def source(self, name: str) -> str:
        """Return the name that GDAL opens a file of the package by."""
        return f"/{self.driver}/{self.path.resolve()}/{name}" if self.driver else str(self.path / name)

    def read(self, name: str) -> bytes:
        """Return what a file of the package holds.

        Raises:
            DamagedDataError: if it cannot be read, or is too large to describe a product.
        """
        try:
            with self._opened(name) as file:
                content = file.read(_LARGEST + 1)
        except _UNREADABLE as error:
            remedy = "; unpack it and name the folder" if self.driver else ""
            raise DamagedDataError(f"{name} of {self.path} cannot be read: {error}{remedy}") from error
        if len(content) > _LARGEST:
            raise DamagedDataError(
                f"{name} of {self.path} has more than {_LARGEST >> 20} MB; expected a short text that describes a "
                "product. Download it again"
            )
        return content

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the package for a while."""
        if self.driver == "vsizip":
            with zipfile.ZipFile(self.path) as packed, packed.open(name) as file:
                yield file
        elif self.driver == "vsitar":
            with tarfile.open(self.path) as archive, archive.extractfile(name) or io.BytesIO() as file:
                yield file
        else:
            with (self.path / name).open("rb") as file:
                yield file


def open_package(path: Path, *, marks: tuple[str, ...]) -> Package | None:
    """List what is in a folder or an archive; None for other files, and for folders without a file of some endings.

    Args:
        path: Of the folder or archive, or of a folder with a single such folder in it.
        marks: How the name of a file at the top of such a folder may end.

    Raises:
        DamagedDataError: if an archive cannot be read.
    """
    try:
        if path.is_dir():
            return _open_folder(path, marks)
        if not path.is_file():
            return None
        if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                return Package(path, tuple(packed.namelist()), "vsizip")
        if {".tar", ".tgz"} & {suffix.lower() for suffix in path.suffixes} and tarfile.is_tarfile(path):
            with tarfile.open(path) as packed:
                return Package(path, tuple(member.name for member in packed if member.isfile()), "vsitar")
    except _UNREADABLE as error:
        raise DamagedDataError(f"{path} cannot be read as a folder or archive: {error}") from error
    return None


def _open_folder(path: Path, marks: tuple[str, ...]) -> Package | None:
    """List a folder, where it has a file of these endings at its top."""
    entries = sorted(path.iterdir())
    if not any(entry.name.lower().endswith(marks) for entry in entries):
        inner = [entry for entry in entries if entry.is_dir()]
        return _open_folder(inner[0], marks) if len(inner) == 1 and len(entries) == 1 else None
    files = (file for file in path.rglob("*") if file.is_file())
    return Package(path, tuple(sorted(file.relative_to(path).as_posix() for file in files)))
