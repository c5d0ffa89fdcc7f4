"""Small trees in the layouts of published data sets, made by script: their pixels say where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin

from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster

IGBP = {"Forests": 4, "Shrubland": 6, "Grassland": 10, "Croplands": 12, "Urban_Build-up": 13, "Water": 17}


def sen12ms_tree(
    root: Path, *, places: dict[str, str] | None = None, patches: int = 4, georeferenced: bool = True, seed: int = 0
) -> Path:
    """Write a SEN12MS tree: of each region a row of patches that overlap by half, classes in squares of 32 pixels.

    Args:
        root: Folder to write.
        places: Season of each place id; three places if None.
        patches: Of each region.
        georeferenced: Whether the files say where they lie.
        seed: Of everything.
    """
    seeds = {"spring": 1158, "summer": 1868, "fall": 1970, "winter": 2017}
    ids = np.array(list(IGBP.values()), np.uint8)
    for number, (place, season) in enumerate((places or {"3": "spring", "1": "summer", "8": "fall"}).items()):
        rng = np.random.default_rng([seed, number])
        width = 128 * (patches + 1)
        kinds = rng.integers(0, len(ids), (8, width // 32)).repeat(32, axis=0).repeat(32, axis=1)
        spectra = rng.uniform(500, 4000, (len(ids), 13))
        s2 = (spectra[kinds] * rng.uniform(0.9, 1.1, (256, width, 1))).astype(np.uint16)
        s1 = (-10 - 2.0 * kinds[..., None] + rng.normal(0, 1, (256, width, 2))).astype(np.float32)
        lc = np.zeros((256, width, 4), np.uint8)  # GDAL takes the fourth of four such bands for transparency
        lc[..., 0] = ids[kinds]
        folder = root / f"ROIs{seeds[season]}_{season}"
        crs = CRS.from_epsg(32632) if georeferenced else None
        for patch in range(patches):
            here = slice(128 * patch, 128 * patch + 256)
            grid = Grid(256, 256, from_origin(500000 + 1280 * patch, 5000000 + 100000 * number, 10, 10), crs)
            for part, pixels in (("s1", s1), ("s2", s2), ("lc", lc)):
                name = f"{folder.name}_{part}_{place}_p{patch + 30}.tif"
                write_raster(folder / f"{part}_{place}" / name, pixels[:, here], grid)
    return root


DEEPGLOBE = [(0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]


def deepglobe_tree(root: Path, *, images: int = 6, side: int = 64, seed: int = 0) -> Path:
    """Write DeepGlobe's training folder: images whose colour is that of their class, darkened, and their masks."""
    (root / "train").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(images):
        kinds = rng.integers(0, len(DEEPGLOBE), (4, 4)).repeat(side // 4, axis=0).repeat(side // 4, axis=1)
        colours = np.array(DEEPGLOBE, np.uint8)[kinds]
        shade = colours // 2 + rng.integers(0, 20, colours.shape, dtype=np.uint8)
        Image.fromarray(shade).save(root / "train" / f"{1000 + number}_sat.jpg", quality=95)
        Image.fromarray(colours).save(root / "train" / f"{1000 + number}_mask.png")
    return root
