"""The numbers of a scene as somebody looks at them: any bands, any size, as they are stored or composed of dates."""

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from fewshot.geo.bands import Band
from fewshot.geo.composing import Composing
from fewshot.geo.composite import describe_pictures, open_dates
from fewshot.geo.matching import read_spectra
from fewshot.geo.mosaic import Part, Picture, Pixels, ReadNumbers, describe_mosaic, read_reduced
from fewshot.geo.rasters import RasterInfo, RasterReader
from fewshot.geo.scene import Scene
from fewshot.geo.windows import Window

_CHOICES = 64  # of bands that are kept open


def open_numbers(pictures: Sequence[Picture], how: Composing, *, sensor: str = "") -> tuple[RasterInfo, ReadNumbers]:
    """Open a scene to be looked at.

    Args:
        pictures: One a date.
        how: They become one scene, as `open_dates` has it.
        sensor: What recorded it, where it does not say.

    Returns:
        What it says of itself, and what reads it; threads may share that.

    Raises:
        RasterError: if the pictures cannot be read as one scene.
    """
    info = describe_pictures(pictures, how)
    if len(pictures) == 1:
        return info, partial(_stored, RasterReader(), describe_mosaic(pictures[0].layers)[1])
    every = tuple(range(1, info.bands + 1))
    spectra = read_spectra(info, sensor=sensor)

    @lru_cache(_CHOICES)
    def of_bands(numbers: tuple[int, ...]) -> Scene:
        wanted = [Band(info.names[number - 1], spectra[number - 1].wavelength, unit="") for number in numbers]
        return open_dates(pictures, how, wanted, chosen=numbers, sensor=sensor)

    def read(window: Window, bands: Sequence[int], step: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        # The date with the greatest NDVI is told from bands that nobody may look at.
        numbers = every if how == "ndvi" else tuple(dict.fromkeys(bands))
        pixels, valid = of_bands(numbers).reduced(step).read(_reduced(window, step))
        shown = [numbers.index(band) for band in bands]
        return pixels[..., shown], np.repeat(valid[..., np.newaxis], len(shown), axis=-1)

    of_bands(every)  # refuses what cannot be composed
    return info, read


def _stored(
    reader: RasterReader, parts: Sequence[Part], window: Window, bands: Sequence[int], step: int
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Read a window of a mosaic; see `ReadNumbers`."""
    reduced = _reduced(window, step)
    return read_reduced(reader, parts, window, bands, (reduced.height, reduced.width))


def _reduced(window: Window, step: int) -> Window:
    return Window(window.row // step, window.column // step, -(-window.height // step), -(-window.width // step))
