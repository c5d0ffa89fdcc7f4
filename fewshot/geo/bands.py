"""Bands: the wanted ones, and where a scene has them."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fewshot.geo.spectrum import Spectrum

REFLECTANCE = "reflectance"
"""The unit whose values are checked: about 0-1 once scaled."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Band:
    """One band: its value is `scale * digital number + offset`.

    Attributes:
        name: As files describe it, e.g. "B8A" or "VV".
        wavelength: Centre, in nm; None for what is not optical.
        scale: What one digital number is worth.
        offset: Added after scaling.
        unit: Of the value; "reflectance" is checked to be about 0-1.
        nodata: Digital number that stands for no data where the file does not say.
        width: Full width at half maximum, in nm; None where it is not known.
    """

    name: str
    wavelength: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = REFLECTANCE
    nodata: float | None = None
    width: float | None = None


@dataclass(frozen=True)
class BandMatch:
    """Where the wanted bands are in a file.

    Attributes:
        bands: The wanted bands, in the wanted order.
        numbers: Number in the file of each, counted from 1; None where the file lacks it.
        how: "description", "wavelength", "order" or "list".
        spectra: What is known of the file's bands; empty where nothing is.
        groups: Numbers of the bands whose average each wanted one is; empty where each is one band.
    """

    bands: tuple[Band, ...]
    numbers: tuple[int | None, ...]
    how: Literal["description", "wavelength", "order", "list"]
    spectra: tuple[Spectrum, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def present(self) -> BoolArray:
        """[bands] which of the wanted bands the file has."""
        return np.array([number is not None for number in self.numbers])

    @property
    def found(self) -> tuple[int, ...]:
        """Numbers in the file of the wanted bands that it has, in the wanted order."""
        return tuple(number for number in self.numbers if number is not None)

    @property
    def used(self) -> tuple[int, ...]:
        """Numbers in the file of all bands that are read, also those that are averaged."""
        return tuple(number for group in self.groups for number in group) or self.found

    def say(self) -> str:
        """Say which band went where, and which are missing."""
        present = [self._line(place) for place, number in enumerate(self.numbers) if number is not None]
        lost = [band.name for band, number in zip(self.bands, self.numbers, strict=True) if number is None]
        return "; ".join(present + ([f"missing: {', '.join(lost)}"] if lost else []))

    def _line(self, place: int) -> str:
        band, number = self.bands[place], self.numbers[place]
        wanted = band.name + (f" ({band.wavelength:g} nm)" if band.wavelength else "")
        own = self.spectra[number - 1] if self.spectra and number else Spectrum()
        found = f"band {number}" + (f" {own.name!r}" if own.name else "")
        found += f" ({own.wavelength:g} nm)" if own.wavelength and f"{own.wavelength:g}" not in own.name else ""
        group = self.groups[place] if self.groups else ()
        if len(group) > 1:
            found = f"mean of {len(group)} bands, {group[0]} {self.spectra[group[0] - 1].name!r} to {group[-1]} "
            found += repr(self.spectra[group[-1] - 1].name)
        return f"{wanted} <- {found}"

    def _how(self, place: int) -> str:
        """Return how one wanted band was found."""
        if self.numbers[place] is None:
            return "missing"
        if self.how in ("order", "list"):
            return self.how
        return "name" if self.how == "description" and not self.groups else "wavelength"

    def describe(self) -> list[dict[str, Any]]:
        """Return the same for `map.json`: name, number in the file or null, both wavelengths and how it was found."""
        found = []
        for place, (band, number) in enumerate(zip(self.bands, self.numbers, strict=True)):
            own = self.spectra[number - 1] if number and self.spectra else Spectrum()
            entry = {"name": band.name, "wavelength": band.wavelength, "number": number}
            entry |= {"file_name": own.name or None, "file_wavelength": own.wavelength}
            entry |= {"how": self._how(place), "wavelength_from": own.source or None}
            found.append(entry | ({"mean_of": list(self.groups[place])} if self.groups else {}))
        return found
