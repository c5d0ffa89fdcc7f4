"""Masks: rasters that say which pixels of a picture are left out, such as those that clouds cover."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError, RecipeError
from fewshot.geo.grid import Grid
from fewshot.geo.names import is_path, local_file, short_name
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.windows import Window

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Codes:
    """Numbers of a mask whose pixels are left out.

    Attributes:
        values: Left out where the mask has one of them, or
        bits: where one of these bits is set, counted from 0.
        words: What they mean.
    """

    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()
    words: str = ""

    def say(self) -> str:
        """Say what is left out."""
        values = f"values {', '.join(map(str, self.values))}" if self.values else ""
        bits = f"bits {', '.join(map(str, self.bits))}" if self.bits else ""
        return " and ".join(part for part in (values, bits) if part) + (f" ({self.words})" if self.words else "")


KNOWN = {
    "SCL": Codes((0, 1, 3, 8, 9, 10), words="no data, saturated, cloud shadow, clouds, cirrus; snow stays"),
    "QA_PIXEL": Codes(bits=(0, 1, 2, 3, 4), words="fill, dilated cloud, cirrus, cloud, cloud shadow; snow stays"),
    "Fmask": Codes((255,), (1, 2, 3), words="fill, cloud, beside cloud, cloud shadow; snow stays"),
}
"""Masks of Sentinel-2 (level 2A), Landsat (collection 2) and HLS by name, and what of them is left out."""


def read_codes(text: str) -> Codes:
    """Read which numbers are left out: "3,8-10" are values, "bits:0-4" are bits, and both may be given.

    Raises:
        RecipeError: if it says something else.
    """
    found: dict[str, list[int]] = {"values": [], "bits": []}
    kind = "values"
    for word in filter(None, re.split(r"[\s,;]+", text.strip())):
        if match := re.match(r"(values|bits):", word):
            kind, word = match[1], word[match.end() :]
        span = re.fullmatch(r"(-?\d{1,9})(?:-(\d{1,9}))?", word)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
        if not 0 <= last - first < 4096 or (kind == "bits" and not 0 <= first <= last < 32):
            raise RecipeError(
                f"--mask-out {text}: {word!r} is not understood; expected the values of the mask that are left out, "
                "such as 3,8-10, or its bits, such as bits:0-4"
            )
        found[kind] += range(first, last + 1)
    return Codes(tuple(found["values"]), tuple(found["bits"]))


@dataclass(frozen=True)
class Mask:
    """A band of a raster that says which pixels are left out.

    Attributes:
        source: The raster, as GDAL takes it.
        codes: What of it is left out.
        band: Counted from 1.
        grid: What it is laid on, each pixel taking the nearest one; None where it has the same pixels.
    """

    source: str
    codes: Codes
    band: int = 1
    grid: Grid | None = None

    def on(self, grid: Grid) -> "Mask":
        """Return the mask as it lies on a grid.

        Raises:
            RasterError: if it says nowhere where it lies, or elsewhere.
        """
        own = describe_raster(self.source).grid
        if own.same_as(grid):
            return replace(self, grid=None)
        if own.crs is None or grid.crs is None or not own.overlaps(grid):
            where = own.extent() if own.crs else "a raster without a CRS"
            raise RasterError(
                f"the mask {self.source} is {where}, and has no ground in common with the scene, "
                f"{grid.extent() if grid.crs else 'which names no CRS'}. Name the one that belongs to it."
            )
        return replace(self, grid=grid)

    def read(self, reader: RasterReader, window: Window) -> BoolArray:
        """Return which pixels [H, W] of a window are left out; those that the mask does not reach are too.

        Args:
            reader: Keeps the raster open.
            window: Of the grid that it lies on.

        Raises:
            RasterError: if it cannot be read.
        """
        numbers, inside = reader.read_codes(self.source, window, band=self.band, grid=self.grid)
        known = inside & np.isfinite(numbers)
        numbers = np.where(known, numbers, 0).astype(np.int64)
        left_out = np.isin(numbers, self.codes.values)
        left_out |= (numbers & sum(1 << bit for bit in self.codes.bits)) != 0
        return left_out | ~known


def known_mask(name: str) -> str:
    """Return which of the masks in `KNOWN` a name has as a part, "" if none."""
    for known in KNOWN:
        if re.search(rf"(?:^|[_.\-]){known}(?:[_.\-]|$)", name, re.IGNORECASE):
            return known
    return ""


def codes_of(name: str, asked: Codes | None) -> Codes:
    """Return what of a mask is left out: what was asked for, else what is usual for one of its name.

    Raises:
        RecipeError: if neither says it.
    """
    if asked is not None:
        return asked
    if known := known_mask(name):
        return KNOWN[known]
    raise RecipeError(
        f"--mask {name}: which of its values stand for clouds and the like is not known; say them with --mask-out, "
        f"such as --mask-out 1 or 3,8-10. Known without are {', '.join(KNOWN)}."
    )


def is_named(mask: str) -> bool:
    """Whether a mask is meant by its name, not by that of a file."""
    return re.fullmatch(r"\w+", mask) is not None and not Path(mask).is_file()


def find_mask(name: str, source: str, info: RasterInfo, asked: Codes | None) -> Mask:
    """Find the mask of a picture: a band of it, or a file beside it whose name begins alike.

    Args:
        name: As `--mask` has it, such as "SCL".
        source: The picture, as GDAL takes it.
        info: Of the picture.
        asked: What is left out, where it is not what is usual.

    Raises:
        RasterError: if there is none.
        RecipeError: if what is left out is not known.
    """
    if number := band_named(name, info):
        return Mask(source, codes_of(name, asked), number)
    beside = max(_beside(name, source), default=None)
    if beside is None:
        raise RasterError(
            f"{source} has no mask {name}: none of its bands {', '.join(filter(None, info.names)) or '(without names)'}"
            f" is called so, and no file beside it, such as {short_name(source)}_{name}.tif. Name the file with --mask."
        )
    return Mask(str(beside[1]), codes_of(name, asked))


def band_named(name: str, info: RasterInfo) -> int | None:
    """Return the number of the band of that name, None if there is none."""
    places = [place for place, own in enumerate(info.names, start=1) if own.casefold() == name.casefold()]
    return places[0] if places else None


def _beside(name: str, source: str) -> Iterator[tuple[int, Path]]:
    """Yield the files near a picture that are called like a mask of it, with how much of its name they share."""
    file = local_file(source)
    if file is None or not is_path(source):
        return
    # The bands of Sentinel-2 lie in a folder for each resolution.
    folder = file.parent.parent if file.parent.name in ("R10m", "R20m", "R60m") else file.parent
    files = folder.glob("*/*") if folder != file.parent else folder.iterdir()
    for path in sorted(files, reverse=True):
        found = re.search(rf"(?:^|[_.\-]){name}(?=[_.\-]|$)", path.stem, re.IGNORECASE)
        if found is None or path.suffix.lower() not in (".tif", ".tiff", ".jp2", ".img", ".vrt"):
            continue
        begin = path.stem[: found.start()]
        if file.stem.startswith(begin):
            yield len(begin), path
