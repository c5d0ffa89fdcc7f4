"""A scene as a model reads it: its bands found, its values in the model's unit, mirrored beyond its edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.exported.card import Card
from fewshot.geo.bands import REFLECTANCE, Band, BandMatch, check_units, match_bands, read_bands
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import MosaicReader, Part, describe_mosaic
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.windows import Window, blocks, intersection

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_LOOKED_AT = 256  # rows and columns of a window whose unit is checked
_LOOKS = 64  # such windows that are looked at before a scene counts as one without data


@dataclass(frozen=True)
class Stored:
    """How the values of a band are sent: the network reads `scale * value + offset`."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    whole: bool


class Scene:
    """A scene and where in it the model's bands are. Each process opens the files for itself."""

    def __init__(self, info: RasterInfo, match: BandMatch, parts: tuple[Part, ...], stored: Stored) -> None:
        """Keep what was found; nothing is read yet."""
        self.info, self.match, self.parts, self._stored = info, match, parts, stored
        self._reader = MosaicReader(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without the open files."""
        return Scene, (self.info, self.match, self.parts, self._stored)

    @property
    def grid(self) -> Grid:
        """Size and georeference."""
        return self.info.grid

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Read a window that may reach outside of the scene.

        Returns:
            Values [H, W, bands] float32 as they are sent to the model, mirrored outside of the scene and standing for
            zero where there is no data; and where there is data [H, W], nowhere outside of the scene.

        Raises:
            RasterError: if a file cannot be read.
        """
        whole = Window(0, 0, self.grid.height, self.grid.width)
        inside = intersection(window, whole)
        if inside is None:
            raise RasterError(f"{window} lie outside of {self.info.path}, {whole.height}x{whole.width} pixels")
        stored = list(zip(self._stored.scale, self._stored.offset, strict=True))
        values, valid = read_bands(self._reader, self.info, self.match, inside, stored=stored)
        if self._stored.whole:
            values = np.clip(np.round(values), 0, 255)
        before = (inside.row - window.row, inside.column - window.column)
        after = (window.height - inside.height - before[0], window.width - inside.width - before[1])
        if any(before) or any(after):
            added = list(zip(before, after, strict=True))
            values = np.pad(values, [*added, (0, 0)], mode="symmetric")
            valid = np.pad(valid, added)
        return values, valid

    def valid(self, window: Window) -> BoolArray:
        """Say where a window inside the scene has data [H, W]."""
        return read_bands(self._reader, self.info, self.match, window)[1]

    def check_units(self, near: tuple[int, int] | None = None) -> None:
        """Refuse values that cannot be in the unit that the model expects.

        Args:
            near: Row and column of a pixel with data; if None, windows of the whole scene are looked at until one has.

        Raises:
            RasterError: if reflectance is far outside of about 0-1 once scaled.
        """
        height, width, side = self.grid.height, self.grid.width, _LOOKED_AT
        if near is not None:
            row, column = near
            self._check(Window(max(0, row - side // 2), max(0, column - side // 2), side, side))
            return
        count = -(-height // side) * -(-width // side)
        wanted = set(np.linspace(0, count - 1, min(count, _LOOKS), dtype=np.int64).tolist())
        for number, window in enumerate(blocks(height, width, side)):
            if number > max(wanted):
                break
            if number in wanted and self._check(window):
                return

    def _check(self, window: Window) -> bool:
        """Check the unit in a window; return whether it has data."""
        inside = intersection(window, Window(0, 0, self.grid.height, self.grid.width))
        if inside is None:
            return False
        values, valid = read_bands(self._reader, self.info, self.match, inside)
        check_units(values, valid, self.info, self.match)
        return bool(valid.any())

    def files(self) -> list[dict[str, Any]]:
        """Return each file with its size and the time of its last change, to know it again."""
        found = []
        for part in self.parts:
            path = Path(part.source)
            state = path.stat() if path.exists() else None
            found.append(
                {"file": part.source, "bytes": state and state.st_size, "changed": state and state.st_mtime_ns}
            )
        return found


def require_8_bit(info: RasterInfo, match: BandMatch) -> None:
    """Refuse numbers that would be taken for brightness from 0 to 255 and are not.

    Raises:
        RasterError: if a band has other numbers, and does not say what one is worth.
    """
    stated = all(info.states_scale(number) for number in match.numbers if number is not None)
    if info.dtype != "uint8" and not stated:
        raise RasterError(
            f"{info.path} has {info.dtype} pixels without a scale; the model reads 8-bit pictures, 0-255. Say what one "
            "unit is worth where 1 is the brightest with --scale, such as --scale 1e-4 for reflectance x 10,000."
        )


def open_scene(
    sources: Sequence[str | Path], card: Card, *, bands: Sequence[str | int] = (), scale: float | None = None
) -> Scene:
    """Find a model's bands in a scene.

    Args:
        sources: One file; or several, as neighbours or with a band each.
        card: Of the model.
        bands: Overrules the files' descriptions: the name of each of the scene's bands, or the number in the scene of
            each of the model's.
        scale: What one digital number is worth in the unit of the network, where the file does not say; what the
            card says if None.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, they do not fit together, or bands are missing.
    """
    if not sources:
        raise RasterError("no scene was named; expected at least one raster")
    info, parts = describe_mosaic(sources)
    wanted = [
        Band(
            band.name,
            band.wavelength,
            band.scale if scale is None else scale,
            band.offset if scale is None else 0.0,
            # "simulated reflectance" and the like are 0-1 too.
            REFLECTANCE if REFLECTANCE in band.unit else band.unit,
            band.nodata,
        )
        for band in card.bands
    ]
    match = match_bands(wanted, info, chosen=list(bands) or None)
    if card.value_type == "uint8" and scale is None:
        require_8_bit(info, match)
    stored = Stored(
        tuple(band.scale for band in card.bands),
        tuple(band.offset for band in card.bands),
        whole=card.value_type == "uint8",
    )
    return Scene(info, match, parts, stored)
