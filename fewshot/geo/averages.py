"""Bands that are averaged while a window is read: a spectrometer's to broader ones, a series' over its dates."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.bands import BandMatch
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.windows import Window

Read = Callable[[Window, Sequence[int]], tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]

_AT_ONCE = 8 << 20
"""Numbers that are read at once: what is in memory does not depend on how many bands a scene has."""


def read_averages(
    read: Read, window: Window, info: RasterInfo, match: BandMatch
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Read a window of a scene, each wanted band as the mean of its group.

    Args:
        read: Returns bands of a window in digital numbers, and where they are valid.
        window: Inside the scene.
        info: Of the scene.
        match: With groups.

    Returns:
        Averages [H, W, bands that the file has] of the bands that are valid, in digital numbers of each group's own
        band, and where any of the group is valid.

    Raises:
        RasterError: if a file cannot be read.
    """
    groups = [group for group in match.groups if group]
    numbers = sorted({number for group in groups for number in group})
    belongs = np.array([[number in group for group in groups] for number in numbers])
    share = (belongs / belongs.sum(axis=0)).astype(np.float32)
    weights, shift = _weights(info, match, numbers)
    pixels = np.empty((window.height, window.width, len(groups)), np.float32)
    valid = np.empty(pixels.shape, np.bool_)
    rows = max(1, _AT_ONCE // (window.width * len(numbers)))
    for first in range(0, window.height, rows):
        height = min(rows, window.height - first)
        strip = Window(window.row + first, window.column, height, window.width)
        found, seen = read(strip, numbers)
        if info.nodata is None:
            seen &= ~_empty(found, match, belongs)
        there = seen.astype(np.float32)
        part = there @ share  # of each group
        here = slice(first, first + height)
        pixels[here] = (found.astype(np.float32) * there) @ weights / np.maximum(part, np.float32(1e-6)) + shift
        valid[here] = part > 0
    return pixels, valid


def _empty(pixels: npt.NDArray[Any], match: BandMatch, belongs: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Say where bands [H, W, bands that are read] hold the number that the wanted band takes for no data."""
    wanted = [band for band, group in zip(match.bands, match.groups, strict=True) if group]
    empty = np.zeros(pixels.shape, np.bool_)
    for place, band in enumerate(wanted):
        if band.nodata is not None:
            empty |= (pixels == band.nodata) & belongs[:, place]
    return empty


def _weights(
    info: RasterInfo, match: BandMatch, numbers: Sequence[int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what each number read adds to each average [read, averages], and what is added to that [averages].

    Where the file's bands have scales of their own, they are brought to that of the group's own band.
    """
    kept = [(number, group) for number, group in zip(match.numbers, match.groups, strict=True) if number is not None]
    weights, shift = np.zeros((len(numbers), len(kept))), np.zeros(len(kept))
    for place, (middle, group) in enumerate(kept):
        scale, offset = info.scales[middle - 1], info.offsets[middle - 1]
        for number in group:
            weights[numbers.index(number), place] = info.scales[number - 1] / scale / len(group)
            shift[place] += (info.offsets[number - 1] - offset) / scale / len(group)
    return weights.astype(np.float32), shift.astype(np.float32)
