"""What the numbers of a band are: the words that stores of images, manifests and sources share."""

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
