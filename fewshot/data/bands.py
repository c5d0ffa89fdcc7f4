"""What the numbers of a band are: the words that stores of images, manifests and sources share."""

from collections.abc import Sequence
from dataclasses import dataclass


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


COLOURS = (("red", 665.0), ("green", 560.0), ("blue", 490.0))
"""The channels of a photograph, and about where they lie, in nm."""
APART = 45.0
"""A band's centre is at most this far from its colour, in nm."""


def red_green_blue(bands: Sequence[StoredBand]) -> tuple[int, int, int] | None:
    """Return which bands, from 0, are red, green and blue, by name or else by wavelength; None where one is missing."""
    found = []
    for colour, wavelength in COLOURS:
        named = [i for i, band in enumerate(bands) if band.name.lower() == colour]
        far = {i: abs(band.wavelength - wavelength) for i, band in enumerate(bands) if band.wavelength is not None}
        near = [i for i in sorted(far, key=far.__getitem__) if far[i] <= APART]
        if not (named or near):
            return None
        found.append((named or near)[0])
    red, green, blue = found
    return red, green, blue
