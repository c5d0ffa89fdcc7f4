"""What the digital numbers of a band are worth, and whether its unit can be right."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.bands import REFLECTANCE, Band, BandMatch, BoolArray
from fewshot.geo.rasters import RasterInfo

FloatArray = npt.NDArray[np.float32]

# Scaled reflectance is dark water at some thousandths and cloud or snow at 1 to 2. Wrong by the usual factors
# (255, 10,000) it leaves these limits by far.
_LEAST_BRIGHTEST, _MOST_TYPICAL = 5e-4, 2.5

_GREATEST, _LEAST_WHITE = {"uint8": 255, "int8": 127}, 0.1
"""The greatest number of small types, and the reflectance that it stands for at least."""


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


def to_values(
    pixels: npt.NDArray[Any],
    valid: BoolArray,
    info: RasterInfo,
    match: BandMatch,
    *,
    stored: Sequence[tuple[float, float]] | None = None,
    gaps: Literal["zero", "mean"] = "zero",
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
        gaps: What stands where a band is not valid: 0, or the mean of its valid values, for networks that take the
            statistics of what they are shown.

    Returns:
        Values [H, W, bands] float32 in the bands' units, or the numbers for them; those of 0 where the file lacks the
        band. And [H, W] bool, where every band that the file has is valid: not nodata, and finite.
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
        filled = zero[places] if gaps == "zero" else _means(scaled, valid)
        scaled = np.where(valid, scaled, filled.astype(scaled.dtype))
    if len(places) == len(match.bands):
        values = scaled.astype(np.float32, copy=False)
    else:
        values = np.empty((*pixels.shape[:2], len(match.bands)), np.float32)
        values[:] = zero
        values[..., places] = scaled
    return values, np.ones(valid.shape[:2], np.bool_) if complete else np.asarray(valid.all(axis=-1), np.bool_)


def _means(values: npt.NDArray[Any], valid: BoolArray) -> npt.NDArray[np.float64]:
    """Return the mean of the valid values [H, W, bands] of each band, 0 where none is."""
    total = np.sum(values, axis=(0, 1), dtype=np.float64, where=valid)
    return np.asarray(total / np.maximum(np.count_nonzero(valid, axis=(0, 1)), 1), np.float64)


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
