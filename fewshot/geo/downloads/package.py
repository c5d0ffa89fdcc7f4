"""Packages: folders, and archives that are read as if they were folders."""

import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fewshot.errors import DamagedDataError


@dataclass(frozen=True)
class Package:
    """A folder or archive.

    Attributes:
        path: Of it.
        names: Files in it, from its top.
        driver: What GDAL reads such an archive with; "" for a folder.
    """

    path: Path
    names: tuple[str, ...]
    driver: str = ""

    def source(self, name: str) -> str:
        """Return the name that GDAL opens a file of the package by."""
        return f"/{self.driver}/{self.path.resolve()}/{name}" if self.driver else str(self.path / name)

    def read(self, name: str) -> bytes:
        """Return what a file of the package holds.

        Raises:
            DamagedDataError: if it cannot be read.
        """
        try:
            if self.driver == "vsizip":
                with zipfile.ZipFile(self.path) as packed:
                    return packed.read(name)
            if self.driver == "vsitar":
                with tarfile.open(self.path) as packed:
                    file = packed.extractfile(name)
                    return file.read() if file is not None else b""
            return (self.path / name).read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise DamagedDataError(f"{name} of {self.path} cannot be read: {error}") from error


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
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
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
