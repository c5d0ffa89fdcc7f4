"""Bands: which of a scene's are the wanted ones, what a digital number is worth, and whether its unit can be right."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.rasters import RasterInfo

REFLECTANCE = "reflectance"
"""The unit whose values are checked: about 0-1 once scaled."""

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Scaled reflectance is dark water at some thousandths and cloud or snow at 1 to 2. Wrong by the usual factors
# (255, 10,000) it leaves these limits by far.
_LEAST_BRIGHTEST, _MOST_TYPICAL = 5e-4, 2.5

_GREATEST, _LEAST_WHITE = {"uint8": 255, "int8": 127}, 0.1
"""The greatest number of small types, and the reflectance that it stands for at least."""


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
    """

    name: str
    wavelength: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = REFLECTANCE
    nodata: float | None = None


@dataclass(frozen=True)
class BandMatch:
    """Where the wanted bands are in a file.

    Attributes:
        bands: The wanted bands, in the wanted order.
        numbers: Number in the file of each, counted from 1; None where the file lacks it.
        how: "description", "order" or "list".
    """

    bands: tuple[Band, ...]
    numbers: tuple[int | None, ...]
    how: Literal["description", "order", "list"]

    @property
    def present(self) -> BoolArray:
        """[bands] which of the wanted bands the file has."""
        return np.array([number is not None for number in self.numbers])

    @property
    def found(self) -> tuple[int, ...]:
        """Numbers in the file of the wanted bands that it has, in the wanted order."""
        return tuple(number for number in self.numbers if number is not None)


def own_bands(info: RasterInfo, *, scale: float | None = None) -> tuple[Band, ...]:
    """Return all bands of a file as it describes them, for those who want them as they are.

    Args:
        info: Of the file.
        scale: What one digital number is worth in reflectance. May be left out where the file states a scale, and for
            8-bit images, whose range 0-255 becomes 0-1.

    Raises:
        RasterError: if the scale is not known.
    """
    stated = all(info.states_scale(number) for number in range(1, info.bands + 1))
    if scale is None and not stated and info.dtype != "uint8":
        raise RasterError(
            f"{info.path} has {info.dtype} pixels, whose scale is not known; say what one unit is worth, such as "
            "scale = 1e-4 for reflectance x 10,000, or scale = 1 for reflectance 0-1"
        )
    unit = "brightness" if scale is None and not stated else REFLECTANCE
    worth = scale if scale is not None else 1 / 255
    names = [name or f"band {number}" for number, name in enumerate(info.names, start=1)]
    return tuple(Band(name, scale=worth, unit=unit) for name in names)


def match_bands(
    wanted: Sequence[Band],
    info: RasterInfo,
    *,
    chosen: Sequence[str | int] | None = None,
    missing: Literal["refuse", "allow"] = "refuse",
) -> BandMatch:
    """Find the wanted bands in a file.

    By the file's descriptions ("B2", "B02" and "b2, 490 nm" are one); a file without any is taken in order if it has
    as many bands as are wanted.

    Args:
        wanted: In the wanted order.
        info: Of the file.
        chosen: Overrules the descriptions: the name of each of the file's bands, in its order; or the number in the
            file of each wanted band, 0 for one that it lacks.
        missing: Whether the file may lack wanted bands, though never all of them.

    Raises:
        RasterError: if bands are missing or cannot be told apart, or `chosen` does not fit the file.
    """
    words = [number for number in chosen or () if isinstance(number, str)]
    if chosen is not None and not words:
        return _match_numbers(wanted, info, [int(number) for number in chosen], missing)
    names = list(info.names)
    if chosen is not None:
        names = [str(name) for name in chosen]
        if len(names) != info.bands:
            raise RasterError(
                f"{info.path} has {info.bands} bands, but {len(names)} were named ({', '.join(names)}); name each of "
                "its bands, in its order"
            )
    elif info.undescribed:
        if info.bands != len(wanted):
            raise RasterError(
                f"{info.path} has {info.bands} bands without descriptions; expected {len(wanted)} ({_list(wanted)}). "
                "Name the bands you have with --bands, in the file's order, or choose a model trained on them."
            )
        return BandMatch(tuple(wanted), tuple(range(1, len(wanted) + 1)), "order")
    return _match_names(wanted, info, names, missing, "description" if chosen is None else "list")


def _match_names(
    wanted: Sequence[Band],
    info: RasterInfo,
    names: Sequence[str],
    missing: str,
    how: Literal["description", "list"],
) -> BandMatch:
    """Find the wanted bands by the names of the file's."""
    keys = [_key(name) for name in names]
    numbers: list[int | None] = []
    for band in wanted:
        places = [number for number, key in enumerate(keys, start=1) if key == _key(band.name)]
        if len(places) > 1:
            raise RasterError(
                f"{info.path} has {band.name} as its bands {' and '.join(map(str, places))}; name its bands with "
                "--bands so that one is left"
            )
        numbers.append(places[0] if places else None)
    lost = [band.name for band, number in zip(wanted, numbers, strict=True) if number is None]
    if lost and (missing == "refuse" or len(lost) == len(wanted)):
        raise RasterError(
            f"{info.path} has the bands {', '.join(names)}; expected {_list(wanted)}, but {', '.join(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} not among them. Name the bands you have with --bands, in the file's "
            "order, or choose a model trained on them."
        )
    return BandMatch(tuple(wanted), tuple(numbers), how)


def _match_numbers(wanted: Sequence[Band], info: RasterInfo, numbers: list[int], missing: str) -> BandMatch:
    """Take the wanted bands at the numbers given."""
    wrong = [number for number in numbers if not 0 <= number <= info.bands]
    if len(numbers) != len(wanted) or wrong:
        raise RasterError(
            f"{info.path} has bands 1 to {info.bands}; expected the number of each of {_list(wanted)}, received "
            f"{numbers}"
        )
    if not any(numbers) or (missing == "refuse" and not all(numbers)):
        raise RasterError(
            f"{info.path}: band numbers {numbers} leave out some of {_list(wanted)} (0 is a missing band)"
        )
    return BandMatch(tuple(wanted), tuple(number or None for number in numbers), "list")


def _key(name: str) -> str:
    """Return what two spellings of a band's name have in common."""
    text = name.strip().lower()
    found = re.match(r"b0*(\d+a?)(?![a-z0-9])", text)
    return f"b{found[1]}" if found else text


def _list(bands: Sequence[Band]) -> str:
    names = [band.name for band in bands]
    return ", ".join(names) if len(names) <= 6 else f"{names[0]} ... {names[-1]}"


def to_values(
    pixels: npt.NDArray[Any],
    valid: BoolArray,
    info: RasterInfo,
    match: BandMatch,
    *,
    stored: Sequence[tuple[float, float]] | None = None,
) -> tuple[FloatArray, BoolArray]:
    """Turn digital numbers into what a network wants.

    A scale or an offset that the file states goes before that of the band.

    Args:
        pixels: [H, W, bands that the file has] its own numbers, in the wanted order.
        valid: [H, W, bands that the file has] where they are; changed where a band knows its nodata better.
        info: Of the file.
        match: Where the wanted bands are in it.
        stored: Scale and offset of each band's numbers, where not values are wanted but the numbers that stand for
            them: value = scale * number + offset.

    Returns:
        Values [H, W, bands] float32 in the bands' units, or the numbers for them; those of 0 where not valid and where
        the file lacks the band. And [H, W] bool, where every band that the file has is valid: not nodata, and finite.
    """
    places = np.flatnonzero(match.present)
    if info.nodata is None:
        for layer, place in enumerate(places):
            if match.bands[place].nodata is not None:
                valid[..., layer] &= pixels[..., layer] != match.bands[place].nodata
    own = [scaling(match.bands[place], info, number) for place, number in zip(places, match.found, strict=True)]
    scale, offset = np.array(own, np.float64).reshape(-1, 2).T
    zero = np.zeros(len(match.bands))
    if stored is not None:
        wanted_scale, wanted_offset = np.array(stored, np.float64).T
        zero = -wanted_offset / wanted_scale
        scale, offset = scale / wanted_scale[places], (offset - wanted_offset[places]) / wanted_scale[places]
    scaled = _scaled(pixels, scale, offset)
    complete = bool(valid.all())
    if not complete:
        scaled = np.where(valid, scaled, zero[places].astype(scaled.dtype))
    if len(places) == len(match.bands):
        values = scaled.astype(np.float32, copy=False)
    else:
        values = np.empty((*pixels.shape[:2], len(match.bands)), np.float32)
        values[:] = zero
        values[..., places] = scaled
    return values, np.ones(valid.shape[:2], np.bool_) if complete else np.asarray(valid.all(axis=-1), np.bool_)


def _scaled(
    pixels: npt.NDArray[Any], scale: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]
) -> npt.NDArray[Any]:
    """Return scale * pixels + offset band by band, as float32 where that is exact enough, without needless passes."""
    # Digital numbers of 32 bits do not fit float32 before they are scaled.
    small = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
    scaled = pixels.astype(np.float32 if small else np.float64)
    # One number for all bands is ten times faster than one for each.
    one, other = (band[0] if np.all(band == band[0]) else band for band in (scale, offset))
    if np.any(scale != 1):
        np.multiply(scaled, np.asarray(one, scaled.dtype), out=scaled)
    if np.any(offset):
        np.add(scaled, np.asarray(other, scaled.dtype), out=scaled)
    return scaled


def scaling(band: Band, info: RasterInfo, number: int) -> tuple[float, float]:
    """Return scale and offset of a band's numbers: the file's own if it states any, else the band's.

    Args:
        band: As it is wanted.
        info: Of the file.
        number: Of the band in the file, counted from 1.
    """
    own = info.scales[number - 1], info.offsets[number - 1]
    return own if info.states_scale(number) else (band.scale, band.offset)


def check_units(values: FloatArray, valid: BoolArray, info: RasterInfo, match: BandMatch) -> None:
    """Refuse reflectance that cannot be in the unit that its scale says.

    Args:
        values: [..., bands] as `to_values` gives them.
        valid: [...] which of them are.
        info: Of the file.
        match: Where the wanted bands are in it.

    Raises:
        RasterError: if a band's values are far outside of about 0-1.
    """
    for place, (band, number) in enumerate(zip(match.bands, match.numbers, strict=True)):
        seen = values[..., place][valid]
        if number is None or band.unit != REFLECTANCE or not seen.size:
            continue
        scale, offset = scaling(band, info, number)
        if info.dtype in _GREATEST and abs(_GREATEST[info.dtype] * scale + offset) < _LEAST_WHITE:
            raise RasterError(
                f"{info.path}, band {number} ({band.name}) has 8-bit numbers; times {scale:g} they reach no more than "
                f"{_GREATEST[info.dtype] * scale + offset:.3g}, expected reflectance of about 0-1. Say what one unit "
                "is worth: scale = 1/255 (--scale 0.00392) where 255 is white."
            )
        brightest, typical = float(seen.max()), float(np.median(seen))
        dark, bright = 0 < brightest < _LEAST_BRIGHTEST, typical > _MOST_TYPICAL
        if not dark and not bright:
            continue
        raw = (typical if bright else brightest) / scale - offset / scale
        held = f"a typical value of {raw:g}" if bright else f"no value above {raw:g}"
        remedy = (
            "They look like reflectance 0-1 already: say scale = 1 (--scale 1), or multiply the file by 10,000."
            if dark
            else f"They look like reflectance x {255 if info.dtype == 'uint8' else 10000}: say scale = "
            f"{'1/255' if info.dtype == 'uint8' else '1e-4'}, or divide the file."
        )
        raise RasterError(
            f"{info.path}, band {number} ({band.name}) has {held}; times {scale:g} plus {offset:g} that is "
            f"{typical if bright else brightest:.3g}, expected reflectance of about 0-1. {remedy}"
        )
