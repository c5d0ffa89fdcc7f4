"""Image files in folders and zip archives: listing, decoding, and what to do with damaged ones."""

import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot.errors import DamagedDataError, DataNotFoundError, FewshotError

OnDamaged = Literal["raise", "skip"]
Pixels = npt.NDArray[Any]
Decode = Callable[[bytes, str], tuple[Pixels, tuple[int, int]]]
"""From the bytes and the name of a member to pixels [H, W, bands], and rows and columns before resizing."""

_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, zipfile.BadZipFile)
_SKIP_REMEDY = 'Fetch the file again, or set on_damaged = "skip" to leave such images out.'


@dataclass
class DamageLog:
    """Raises at the first damage, or collects it, as the user chose.

    Attributes:
        on_damaged: "raise" or "skip".
        skipped: What was left out so far, one line each.
    """

    on_damaged: OnDamaged = "raise"
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.on_damaged not in ("raise", "skip"):
            raise DamagedDataError(f'on_damaged is "raise" or "skip", received {self.on_damaged!r}')

    def report(self, message: str) -> None:
        """Raise `message`, or keep it.

        Raises:
            DamagedDataError: if the choice is "raise".
        """
        if self.on_damaged == "raise":
            raise DamagedDataError(f"{message} {_SKIP_REMEDY}")
        self.skipped.append(message)


class Archive:
    """A zip file or a folder, read alike: member names with forward slashes, relative to it."""

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            DataNotFoundError: if it does not exist.
            DamagedDataError: if it is a file that is not a readable zip archive.
        """
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            return
        if not self.path.exists():
            raise DataNotFoundError(f"{self.path} does not exist. Name an existing folder or zip archive.")
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise DamagedDataError(
                f"{self.path} is not a readable zip archive ({error}). It may be truncated: fetch it again."
            ) from error

    def __enter__(self) -> "Archive":
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the zip file."""
        if self._zip is not None:
            self._zip.close()

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.path.stem if self._zip is not None else self.path.resolve().name

    def members(self) -> list[str]:
        """Return all files and folders, sorted; folders end in a slash."""
        if self._zip is not None:
            names = {name for name in self._zip.namelist() if not name.startswith("__MACOSX/")}
            return sorted(names)
        found = self.path.rglob("*")
        return sorted(p.relative_to(self.path).as_posix() + ("/" if p.is_dir() else "") for p in found)

    def read(self, member: str) -> bytes:
        """Return the bytes of one member; safe from several threads."""
        if self._zip is not None:
            return self._zip.read(member)
        return (self.path / member).read_bytes()

    def read_text(self, member: str) -> str:
        """Return one member as text.

        Raises:
            DamagedDataError: if it cannot be read as UTF-8 text.
        """
        try:
            return self.read(member).decode("utf-8")
        except _DECODE_ERRORS as error:
            raise DamagedDataError(f"{self.path}: {member} cannot be read as text: {error}") from error


def find_archives(paths: Sequence[Path], pattern: str = "*.zip") -> list[Path]:
    """Return the archives that `paths` stand for: a folder of zips stands for its zips, all else for itself.

    Raises:
        DataNotFoundError: if a path does not exist or none is given.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [Path(paths)]
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataNotFoundError(f"{path} does not exist. Name an existing folder or zip archive.")
        zips = sorted(path.glob(pattern)) if path.is_dir() else []
        found.extend(zips or [path])
    if not found:
        raise DataNotFoundError("no path to data was given. Name at least one folder or zip archive.")
    return found


def decode_image(
    data: bytes, size: int | None, mode: Literal["L", "RGB"] | None = None
) -> tuple[Pixels, tuple[int, int]]:
    """Decode a picture.

    Args:
        data: Of its file.
        size: Side to area-average it to, in pixels; as it is if None.
        mode: One grey band, or red, green and blue; if None, grey pictures have one band and others three.

    Returns:
        [H, W, bands] uint8; and rows and columns before resizing.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        converted = image.convert(mode or ("L" if image.mode in ("1", "L", "LA") else "RGB"))
    return shrink(np.asarray(converted), size), (converted.height, converted.width)


def shrink(pixels: Pixels, size: int | None) -> Pixels:
    """Area-average uint8 pixels [H, W] or [H, W, bands] to [size, size, bands].

    Area averaging keeps the share of ink of a pixel, and does not ring as a Lanczos filter does.
    """
    if size is not None and pixels.shape[:2] != (size, size):
        pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


@dataclass
class Decoded:
    """Images decoded from one or more archives, and where each was.

    Attributes:
        places: Archive path and member of every image, as errors name it.
        names: Unique name of every image.
        pixels: [H, W, bands] of every image.
        native: Rows and columns before resizing.
    """

    places: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    native: list[tuple[int, int]] = field(default_factory=list)

    def add_all(self, archive: Archive, named: Sequence[tuple[str, str]], decode: Decode, log: DamageLog) -> None:
        """Decode images of one archive.

        Args:
            archive: Where they are.
            named: Member and name of each.
            decode: Decodes one.
            log: Told of the damaged ones.
        """
        for (member, name), found in zip(named, _decoded(archive, named, decode), strict=True):
            if isinstance(found, str):
                log.report(f"{archive.path}: {member} is not a whole image ({found}).")
                continue
            self.places.append(f"{archive.path}: {member}")
            self.names.append(name)
            self.pixels.append(found[0])
            self.native.append(found[1])

    def stack(self, log: DamageLog) -> tuple[list[str], Pixels]:
        """Return names and pixels [N, H, W, bands], reporting images of another size than most.

        Raises:
            DataNotFoundError: if no image is left.
        """
        if not self.pixels:
            raise DataNotFoundError("no readable image was found. Check the folder or archive that was named.")
        shapes = [
            (*native, pixels.shape[2], str(pixels.dtype))
            for native, pixels in zip(self.native, self.pixels, strict=True)
        ]
        usual = Counter(shapes).most_common(1)[0][0]
        kept = []
        for i, shape in enumerate(shapes):
            if shape == usual:
                kept.append(i)
            else:
                log.report(f"{self.places[i]} is {_describe(shape)}, expected {_describe(usual)} as most others are.")
        return [self.names[i] for i in kept], np.stack([self.pixels[i] for i in kept])


def _decoded(
    archive: Archive, named: Sequence[tuple[str, str]], decode: Decode
) -> Iterator[tuple[Pixels, tuple[int, int]] | str]:
    """Yield what each member decodes to, or what is wrong with it: in order, by several threads."""

    def one(named: tuple[str, str]) -> tuple[Pixels, tuple[int, int]] | str:
        try:
            return decode(archive.read(named[0]), named[0])
        except (*_DECODE_ERRORS, FewshotError) as error:
            return str(error) or type(error).__name__

    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        yield from pool.map(one, named)


def _describe(shape: tuple[int, int, int, str]) -> str:
    rows, columns, bands, kind = shape
    return f"{rows}x{columns} pixels of {bands} {kind} band{'s' if bands > 1 else ''}"
