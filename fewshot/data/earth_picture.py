"""Draws simulated regions beside each other: natural colour, false colour and classes, labelled as SIMULATED."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fewshot.data.synthetic import SimulatedRegion
from fewshot.errors import TaskError
from fewshot.geo.landcover import IGBP

_VIEWS = {"natural colour": ("B4", "B3", "B2"), "false colour (infrared, red, green)": ("B8", "B4", "B3")}
_GAP, _LINE = 6, 18
_BANDS = sorted({band for bands in _VIEWS.values() for band in bands})


def draw_regions(regions: Sequence[SimulatedRegion], path: Path, *, side: int = 288, colours: int = 112) -> Path:
    """Draw regions to a PNG, one a column.

    Args:
        regions: With bands B2, B3, B4 and B8.
        path: File to write; its folder is made if missing.
        side: Of each picture, in pixels.
        colours: Of the whole drawing: fewer make a smaller file.

    Returns:
        The path.

    Raises:
        TaskError: if there is no region, or one lacks a band.
    """
    if not regions or not all(set(_BANDS) <= set(region.bands) for region in regions):
        raise TaskError(f"a drawing needs at least one region, and of each the bands {', '.join(_BANDS)}")
    rows, step = len(_VIEWS) + 1, side + _GAP
    sheet = Image.new("RGB", (len(regions) * step + _GAP, rows * step + 4 * _LINE), "white")
    text, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    heading = f"SIMULATED regions, no measurement. Rows: {', '.join(_VIEWS)}, exact classes; 10 m pixels"
    text.text((_GAP, 2), heading, fill="black", font=font)
    for column, region in enumerate(regions):
        left = _GAP + column * step
        text.text((left, _LINE + 2), f"{region.season}, place {region.place}", fill="black", font=font)
        for row, image in enumerate([*(_view(region, bands) for bands in _VIEWS.values()), _class_map(region)]):
            how = Image.Resampling.BOX if row < len(_VIEWS) else Image.Resampling.NEAREST
            sheet.paste(Image.fromarray(image).resize((side, side), how), (left, 2 * _LINE + row * step))
    for number, entry in enumerate(IGBP.classes):
        left = _GAP + number * (sheet.width - _GAP) // len(IGBP.classes)
        above = rows * step + 2 * _LINE + 6
        text.rectangle((left, above, left + 11, above + 11), fill=entry.colour, outline="black")
        text.text((left + 16, above - 1), entry.name, fill="black", font=font)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _view(region: SimulatedRegion, bands: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return three bands [H, W, 3], each stretched between its dark and its bright pixels."""
    image = region.optical[..., [region.bands.index(band) for band in bands]].astype(np.float32)
    low, high = np.percentile(image, (1, 98.5), axis=(0, 1))
    bright = np.clip((image - low) / np.maximum(high - low, 0.7 * (high - low).max()), 0, 1)
    return np.asarray(255 * bright**0.8, np.uint8)


def _class_map(region: SimulatedRegion) -> npt.NDArray[np.uint8]:
    """Return the classes [H, W, 3] in the colours of `IGBP`."""
    table = np.zeros((18, 3), np.uint8)
    for entry in IGBP.classes:
        table[list(entry.ids)] = entry.colour or (0, 0, 0)
    return np.asarray(table[region.classes])
