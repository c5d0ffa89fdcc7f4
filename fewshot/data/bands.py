"""What the numbers of a band are: the words that stores of images, manifests and sources share."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewshot.geo.spectrum import part_of_spectrum


@dataclass(frozen=True)
class StoredBand:
    """One band as it is stored: its value is `scale * stored number + offset`.

    Attributes:
        name: As files describe it, e.g. "B8A" or "VV".
        wavelength: Centre, in nm; None for what is not optical.
        scale: What one stored number is worth.
        offset: Added after scaling.
        unit: Of the value.
        nodata: Stored number that stands for no data where the file does not say.
        stored: Type in the file, and its range where that says more.
        part: The layout's part that holds it; bands of one part are in the order of its file.
        sensor: What recorded it.
        width: Full width at half maximum, in nm; None where it is not known.
    """

    name: str
    wavelength: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    nodata: float | None = None
    stored: str = ""
    part: str = ""
    sensor: str = ""
    width: float | None = None


def red_green_blue(bands: Sequence[StoredBand]) -> tuple[int, int, int] | None:
    """Return which bands, from 0, are red, green and blue, by name or else by wavelength; None where one is missing."""
    found = []
    for colour in ("red", "green", "blue"):
        named = [i for i, band in enumerate(bands) if band.name.lower() == colour]
        seen = [i for i, band in enumerate(bands) if band.wavelength and part_of_spectrum(band.wavelength) == colour]
        if not (named or seen):
            return None
        found.append((named or seen)[0])
    red, green, blue = found
    return red, green, blue
