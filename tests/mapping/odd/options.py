"""Odd options: numbers, names, masks, dates, and where the map is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine

from tests.mapping.odd.kit import CORNER, Asked, Case, of_options, pixels, points, sound, write_scene

CASES: dict[str, Case] = {}

NUMBERS = {
    "--scale": (0, -1, "nan", "inf", "auto", 1e-300, 1e300, "x"),
    "--offset": (0, "nan", "-inf", 1e300, "x"),
    "--holdout": (0, 1, -0.1, 0.99, 0.5, "nan"),
    "--apart": (0, -1, 1, 10**9),
    "--radius": (-1, 0, 10**6),
    "--seed": (-1, 0, 2**70),
    "--stride": (0, 1, 10**9),
    "--window": (0, 1, 10**9),
    "--overlap": (-1, 0, 10**9),
    "--steps": (-1, "auto", 0, "x"),
    "--workers": (0, -1),
}
for option, values in NUMBERS.items():
    for value in values:
        CASES[f"{option} {value}"] = of_options(option, value)
for option, words in {
    "--bands": ("1", "0", "1,1", "9", "B4", "a,b", "1,B8", ",", "-1,2", "1,2,3", "２"),
    "--sensor": ("what", "sentinel2", "Landsat-7", ""),
    "--method": ("what", "prototypes", "nearest", "forest", "auto", "surroundings", "boosting"),
    "--label-field": ("none", "", "class"),
    "--classes": ("none.csv", "/dev/null", "."),
    "--title": ("", "t" * 3000, "a\nb", "$x_", "😀"),
    "--mask": ("SCL", "none.tif", "/dev/null", ".", "B8", "", "x" * 300, "\udcff"),
    "--assets": ("B02", ",", "\n"),
    "--composite": ("median", "stack", "what"),
    "--scheduler": ("nobody:1",),
    "--model": ("none",),
    "--adapted": ("none.npz", "/dev/null"),
    "--validation": ("none.gpkg", "/dev/null"),
    "--save-adapted": ("map.tif", "/proc/none/x.npz", "x" * 300 + ".npz", "."),
    "--to": (
        *("map.png", "map", ".tif", "/proc/none/map.tif", "/dev/null/map.tif", "scene.tif", "labels.geojson"),
        *(
            "x" * 240 + ".tif",
            "x" * 251 + ".tif",
            "x" * 300 + ".tif",
            "\udcff.tif",
            "ünï 場所.tif",
            "a\nb.tif",
        ),
        *(
            "a%b.tif",
            "a'b.tif",
            "deep/er/map.tif",
            "map.TIFF",
            "https://host/map.tif",
            "/vsimem/map.tif",
            "-.tif",
            "..tif",
        ),
    ),
}.items():
    for word in words:
        CASES[f"{option} {word[:30]!r}, {len(word)}"] = of_options(option, word)
for words in (("--what",), ("--resume",), ("--compare",), ("--probabilities",), ("extra",), ("--mask-out", "1")):
    CASES[" ".join(words)] = of_options(*words)


def with_mask(values: Any, *more: Any, **profile: Any) -> Case:
    """Return a case of a mask of such values."""

    def make(folder: Path) -> Asked:
        mask = np.resize(np.asarray(values), (1, 24, 24))
        path = write_scene(folder / "mask.tif", mask, names=(), **profile)
        return sound(folder, more=("--mask", path, *more))

    return make


CASES |= {
    "mask of nothing": with_mask(np.array([0], np.uint8), "--mask-out", "1"),
    "mask of all": with_mask(np.array([1], np.uint8), "--mask-out", "1"),
    "mask of half": with_mask(np.array([0, 1], np.uint8), "--mask-out", "1"),
    "mask that says nothing": with_mask(np.array([0, 1], np.uint8)),
    "mask of floats": with_mask(np.array([0, np.nan, np.inf, 1], np.float32), "--mask-out", "1"),
    "mask of complex numbers": with_mask(np.array([0, 1], np.complex64), "--mask-out", "1"),
    "mask of minus numbers": with_mask(np.array([-1, 1], np.int16), "--mask-out", "-1"),
    "mask of bits": with_mask(np.array([21824, 22280], np.uint16), "--mask-out", "bits:3"),
    "mask without a CRS": with_mask(np.array([0, 1], np.uint8), "--mask-out", "1", crs="EPSG:32733"),
    "mask of elsewhere": with_mask(np.array([0], np.uint8), "--mask-out", "1", transform=Affine(10, 0, 0, 0, -10, 0)),
    "mask of part": with_mask(
        np.array([0], np.uint8), "--mask-out", "1", transform=Affine(10, 0, CORNER[0] + 120, 0, -10, CORNER[1])
    ),
    "mask of large pixels": with_mask(
        np.array([0, 1], np.uint8), "--mask-out", "1", transform=Affine(70, 0, CORNER[0], 0, -70, CORNER[1])
    ),
    "mask-out of nothing": with_mask(np.array([0], np.uint8), "--mask-out", " , "),
    "mask-out of words": with_mask(np.array([0], np.uint8), "--mask-out", "clouds"),
    "mask-out without end": with_mask(np.array([0], np.uint8), "--mask-out", "0-999999999"),
}


def dated(*dates: str, how: str = "", **second: Any) -> Case:
    """Return a case of a scene for each date; the later ones may differ."""

    def make(folder: Path) -> Asked:
        scenes = []
        for number, date in enumerate(dates):
            path = folder / f"part{number}.tif"
            write_scene(path, pixels() + 50 * number, **(second if number else {}))
            scenes.append(f"{date}={path}" if date else path)
        return sound(folder, scenes=scenes, more=("--composite", how) if how else ())

    return make


two = ("2024-06-01", "2024-06-11")
CASES |= {
    **{f"two dates, {how or 'not said'}": dated(*two, how=how) for how in ("", "median", "mean", "ndvi", "stack")},
    "one date twice": dated(two[0], two[0]),
    "a date and none": dated(two[0], ""),
    "no dates to compose": dated("", "", how="median"),
    "days that are none": dated("2024-02-31", "2024-99-01"),
    "a hundred dates": dated(*[f"2024-{month:02d}-{day:02d}" for month in range(1, 11) for day in range(1, 11)]),
    "dates of two CRSs": dated(*two, crs="EPSG:32634"),
    "dates of two grids": dated(*two, transform=Affine(10, 0, CORNER[0] + 3, 0, -10, CORNER[1])),
    "dates of two sizes": dated(*two, transform=Affine(20, 0, CORNER[0], 0, -20, CORNER[1])),
    "dates side by side": dated(*two, transform=Affine(10, 0, CORNER[0] + 240, 0, -10, CORNER[1])),
    "dates far apart": dated(*two, transform=Affine(10, 0, CORNER[0] + 1e7, 0, -10, CORNER[1])),
    "dates with other bands": dated(*two, names=("B2", "B3")),
    "dates of two types": dated(*two, dtype="int32"),
    "neighbours": dated("", "", transform=Affine(10, 0, CORNER[0] + 240, 0, -10, CORNER[1])),
    "neighbours far apart": dated("", "", transform=Affine(10, 0, CORNER[0] + 1e7, 0, -10, CORNER[1])),
    "a scene twice": lambda folder: sound(folder, scenes=[write_scene(folder / "scene.tif")] * 2),
    "no scene": lambda folder: Asked([], points(folder)),
}
