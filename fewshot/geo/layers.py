"""Layers: the files that a scene is read from, with what is known of each beyond what it says itself."""

from dataclasses import dataclass, replace
from pathlib import Path

from fewshot.geo.masks import Mask
from fewshot.geo.rasters import RasterInfo, describe_raster


@dataclass(frozen=True)
class Layer:
    """One file of a scene.

    Attributes:
        source: Its name, as GDAL takes it.
        info: Of the bands that are read.
        numbers: Of these bands in the file, counted from 1.
        mask: Which of its pixels are left out.
        nodata: Number that stands for no data, where the file does not say.
    """

    source: str
    info: RasterInfo
    numbers: tuple[int, ...]
    mask: Mask | None = None
    nodata: float | None = None

    def without(self, number: int) -> "Layer":
        """Return the layer without one band of the file."""
        kept, info = [place for place, own in enumerate(self.numbers) if own != number], self.info
        info = replace(
            info,
            names=tuple(info.names[place] for place in kept),
            scales=tuple(info.scales[place] for place in kept),
            offsets=tuple(info.offsets[place] for place in kept),
            spectra=tuple(info.spectra[place] for place in kept if info.spectra),
        )
        return replace(self, info=info, numbers=tuple(self.numbers[place] for place in kept))


def open_layer(source: "str | Path | Layer") -> Layer:
    """Describe a file as a layer of all its bands.

    Raises:
        DataNotFoundError: if there is no such file.
        RasterError: if it cannot be read.
    """
    if isinstance(source, Layer):
        return source
    info = describe_raster(source)
    return Layer(str(source), info, tuple(range(1, info.bands + 1)))
