"""The quick-look of a map: a small picture with a legend and a scale bar."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.landcover import LandClass
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.product.outputs import Summary

_EMPTY = (208, 208, 208)
_BLACK = (0, 0, 0)
_INK = "#333333"


def prepare_drawing() -> None:
    """Import what drawing takes, which is slow, while something else is waited for."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def draw_map(
    path: Path, summary: Summary, plan: MapPlan, title: str, *, outside: npt.NDArray[np.bool_] | None = None
) -> None:
    """Draw a map.

    Args:
        path: PNG to write.
        summary: Of the map.
        plan: Of the map.
        title: Above it.
        outside: Where the method is not applicable, in the summary's picture; paler there, if it is known.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    down, across = summary.sides
    height, width = summary.picture.shape
    aspect = down / across
    tall = 6.0
    wide = float(np.clip(tall * width / (height * aspect), 2.0, 12.0))
    figure = Figure(figsize=(wide + 2.9, tall + 0.9), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    shown_map = _coloured(summary.picture, plan.model.classes)
    if outside is not None:
        shown_map[outside] = _paler(shown_map[outside])
    axes.imshow(shown_map, interpolation="nearest", aspect=aspect)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_axis_off()
    if plan.scene.grid.crs is not None:
        _draw_scale_bar(axes, across * summary.step, width, height)
    shares = summary.pixels / max(1, summary.pixels.sum())
    shown = [number for number in np.argsort(-shares, kind="stable").tolist() if summary.pixels[number]]
    classes = plan.model.table.classes
    legend = [
        (classes[number].colour or _BLACK, f"{classes[number].name}  {_percent(shares[number])}")
        for number in shown[:24]
    ]
    if outside is not None and outside.any():
        first = np.array([legend[0][0]], np.uint8)
        legend.append((tuple(_paler(first)[0].tolist()), "paler: not applicable"))
    if summary.nodata:
        legend.append((_EMPTY, "no data"))
    handles = [
        Patch(facecolor=f"#{bytes(colour).hex()}", edgecolor=_INK, linewidth=0.4, label=label)
        for colour, label in legend
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, borderaxespad=0)
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.12)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _coloured(picture: npt.NDArray[np.uint8], classes: Mapping[int, LandClass]) -> npt.NDArray[np.uint8]:
    """Return the colours [H, W, 3] of a class raster."""
    lookup = np.full((256, 3), _EMPTY, np.uint8)
    for value, entry in classes.items():
        lookup[value] = entry.colour or _BLACK
    return np.asarray(lookup[picture], np.uint8)


def _paler(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return colours [n, 3] mixed with white."""
    return np.asarray(255 - (255 - colours.astype(np.int64)) * 3 // 10, np.uint8)


def _round_length(most: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20 ... that is at most `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def _draw_scale_bar(axes: Any, pixel: float, width: int, height: int) -> None:
    """Draw a bar of a round length, about a quarter as wide as the map."""
    length = _round_length(max(pixel * width * 0.3, pixel))
    name = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    across, below = length / pixel, height * 1.035
    axes.plot([0, across], [below, below], color=_INK, linewidth=3, solid_capstyle="butt", clip_on=False)
    axes.text(across / 2, height * 1.05, name, ha="center", va="top", fontsize=9, color=_INK, clip_on=False)
