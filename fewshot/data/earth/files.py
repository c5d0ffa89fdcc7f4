"""Writes the SIMULATED Earth as files, in the layout of SEN12MS, so that what reads SEN12MS reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from pathlib import Path

import numpy as np

from fewshot.data.catalogue.manifest import read_manifest
from fewshot.data.earth.region import SimulatedRegion, name_region, simulate_region
from fewshot.data.earth.sensor import OPTICAL, RADAR
from fewshot.data.sources.prepared import RegionFolder
from fewshot.errors import DamagedDataError, TaskError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster

PATCH = 256
"""Side of a patch, in pixels."""

STRIDE = 128
"""Pixels from a patch to the next one: they overlap by half, as the published ones do."""

_SENSORS = ("s1", "s2", "lc")
_LAND_COVER = ("IGBP", "LCCS land cover", "LCCS land use", "LCCS surface hydrology")
_TAG = "SIMULATED by fewshot: no measurement is in it, and nothing found on it holds for the Earth"

_README = """SIMULATED EARTH

Everything in this folder is SIMULATED: no measurement is in it, and nothing found on it holds for the Earth.
Say so wherever a picture or a figure made from it is shown.

Made with: seed = {seed}, patches_per_region = {patches}

Layout, bands and units are those of SEN12MS (Schmitt et al. 2019), so that what reads SEN12MS reads it:
ROIs<number>_<season>/<sensor>_<region>/ROIs<number>_<season>_<sensor>_<region>_p<patch>.tif, 256 x 256 pixels of 10 m
in a UTM zone; patches of a region overlap by half.
  s1  VV, VH: backscatter in dB, float32
  s2  B1 ... B12: reflectance at the top of the atmosphere x 10^4, uint16; 20 m and 60 m bands repeat their pixels
  lc  4 bands, uint16. The first holds IGBP numbers 1-17 and is exact: every pixel's class is what was drawn there, at
      10 m (SEN12MS's labels are coarser and have errors). The other three (LCCS) are not simulated and hold 0.
A region number is a place; the same number in two seasons is the same place. Where the files would lie on the Earth
means nothing.
"""


@dataclass(frozen=True)
class _Plan:
    """One region and the patches to be cut from it."""

    number: int
    seed: int
    patches: int

    @property
    def name(self) -> str:
        """Season and place."""
        return name_region(self.number, seed=self.seed)

    @property
    def side(self) -> int:
        """Patches in a row of the region."""
        return ceil(sqrt(self.patches))

    @cached_property
    def folder(self) -> RegionFolder:
        """Where the region's files lie."""
        season, place = self.name.split("_")
        return RegionFolder(self.name, place, f"ROIs{read_manifest('sen12ms').seeds[season]}_{season}")

    def is_written(self, to: Path, patch: int) -> bool:
        """Whether all files of a patch (from 1) are there."""
        return all(self.folder.file(to, sensor, patch).exists() for sensor in _SENSORS)


def write_earth(
    to: Path,
    *,
    regions: int = 24,
    seed: int = 0,
    patches_per_region: int = 49,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Write a simulated Earth as GeoTIFFs in SEN12MS's layout.

    A region is simulated whole, 128 pixels wider than its rows of patches are apart, and cut into overlapping patches.
    Every fourth region is the place of the third before it in another season. Files that are there stay as they are
    (each appears only when it is whole), so an interrupted run goes on where it was. One region is in memory at a time.

    Args:
        to: Folder, made if missing.
        regions: How many, from number 0; more may be added by a second run.
        seed: Of the world; the same seed writes the same pixels.
        patches_per_region: Triplets of s1, s2 and lc; their number decides how large a region is, so what is drawn.
        progress: Called with the triplets there are and will be, after each one.

    Returns:
        Names of the regions, `<season>_<place>`.

    Raises:
        TaskError: if a number is less than one.
        DamagedDataError: if the folder holds another simulated Earth.
    """
    if min(regions, patches_per_region) < 1:
        raise TaskError(
            f"a simulated Earth has at least one region of one patch; received {regions} and {patches_per_region}"
        )
    to = Path(to)
    _claim(to, seed, patches_per_region)
    done, names = 0, []
    for number in range(regions):
        plan = _Plan(number, seed, patches_per_region)
        names.append(plan.name)
        missing = [patch for patch in range(1, plan.patches + 1) if not plan.is_written(to, patch)]
        done += plan.patches - len(missing)
        if missing:
            region = simulate_region(number, seed=seed, size=STRIDE * (plan.side + 1))
        for patch in missing:
            _write_patch(to, plan, region, patch)
            done += 1
            progress(done, regions * plan.patches)
    progress(done, regions * patches_per_region)
    return tuple(names)


def _claim(to: Path, seed: int, patches: int) -> None:
    """Write the folder's README, or check that the one there is of the same simulated Earth."""
    to.mkdir(parents=True, exist_ok=True)
    path, text = to / "README.txt", _README.format(seed=seed, patches=patches)
    if path.exists():
        if path.read_text(encoding="utf-8", errors="replace") != text:
            raise DamagedDataError(
                f"{path} is not that of a simulated Earth made with seed = {seed}, patches_per_region = {patches}; its "
                "patches would not fit together. Name another folder, or the seed and the patches that it says."
            )
        return
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def _write_patch(to: Path, plan: _Plan, region: SimulatedRegion, patch: int) -> None:
    """Cut one patch and write its files, those that are missing."""
    row, column = (STRIDE * part for part in divmod(patch - 1, plan.side))
    here = np.s_[row : row + PATCH, column : column + PATCH]
    pixel, _, left, _, _, top = region.grid.transform
    transform = (pixel, 0.0, left + column * pixel, 0.0, -pixel, top - row * pixel)
    # Not uint8: GDAL takes the last of four bands of bytes for transparency.
    cover = np.zeros((PATCH, PATCH, len(_LAND_COVER)), np.uint16)
    cover[..., 0] = region.classes[here]
    tags = {"SIMULATED": _TAG, "SEED": str(plan.seed), "REGION": str(plan.number), "SEASON": region.season}
    for sensor, pixels, names in (
        ("s1", np.asarray(region.radar)[here], RADAR),
        ("s2", region.optical[here], OPTICAL),
        ("lc", cover, _LAND_COVER),
    ):
        path = plan.folder.file(to, sensor, patch)
        if not path.exists():
            grid = Grid(PATCH, PATCH, transform, region.grid.crs)
            write_raster(path, pixels, grid, names=names, tags=tags)
