"""A product: the files of one recording, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from fewshot.errors import RasterError
from fewshot.geo.spectrum import Spectrum, numbered


@dataclass(frozen=True)
class Asset:
    """One file of a product.

    Attributes:
        name: Of its band, such as "B02" or "SCL".
        source: The file, as GDAL takes it.
        scaling: Scale and offset from its numbers to reflectance; None where the product does not say.
        nodata: Number that stands for no data, where the file does not say.
        spectrum: Where the band lies, where the product says.
        sensor: What recorded it.
    """

    name: str
    source: str
    scaling: tuple[float, float] | None = None
    nodata: float | None = None
    spectrum: Spectrum = Spectrum()
    sensor: str = ""


@dataclass(frozen=True)
class Product:
    """The files of one recording.

    Attributes:
        name: Of the product.
        date: When it was recorded, as "2024-06-01"; "" where it does not say.
        assets: All its files, by the name of their band.
        bands: Those that are read if no others are asked for.
    """

    name: str
    date: str
    assets: Mapping[str, Asset]
    bands: tuple[str, ...]

    def find(self, name: str) -> Asset:
        """Return a file by its band, in any usual spelling: "B2", "b02".

        Raises:
            RasterError: if there is none.
        """
        for spelling in (str.casefold, numbered):
            wanted = spelling(name)
            found = [asset for own, asset in self.assets.items() if wanted and spelling(own) == wanted]
            if len(found) == 1:
                return found[0]
        raise RasterError(f"{self.name} has no {name}; it has {', '.join(self.assets) or 'no files'}")
