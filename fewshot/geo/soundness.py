"""Rasters that open and yet cannot be used: what GDAL lets pass."""

from pathlib import Path
from typing import Any

import numpy as np

from fewshot.errors import RasterError


def require_real(raster: Any, path: str | Path) -> None:
    """Refuse pixels that are no plain numbers, and a georeference that does not lie on the ground.

    Raises:
        RasterError: if an open raster has any of these.
    """
    if raster.dtypes[0].startswith("complex"):
        raise RasterError(
            f"{path}: its pixels are {raster.dtypes[0]} numbers; expected real ones. Write their modulus to a file "
            "first"
        )
    numbers = tuple(raster.transform)[:6]
    if not np.isfinite(numbers).all() or not raster.transform.determinant:
        wrong = "gives its pixels no size" if np.isfinite(numbers).all() else "is not finite"
        raise RasterError(
            f"{path}: its georeference {wrong} ({', '.join(f'{number:g}' for number in numbers)}); expected where its "
            "corner lies and how large a pixel is. Correct it, for example with gdal_edit.py -a_ullr"
        )
    if raster.crs is not None and not (raster.crs.is_geographic or raster.crs.is_projected):
        raise RasterError(
            f"{path}: its CRS {raster.crs.to_string()[:60]} is neither geographic nor projected, so its pixels do not "
            "lie on the ground. Name the one it is in, for example with rio edit-info --crs EPSG:32633"
        )


def require_whole(raster: Any, path: str | Path, file: Path) -> None:
    """Refuse a GeoTIFF whose last block reaches beyond its end: GDAL fills up what is missing with zeros.

    Args:
        raster: Open.
        path: As it was named.
        file: That it is.

    Raises:
        RasterError: if it is cut short.
    """
    if raster.driver != "GTiff":
        return
    size = file.stat().st_size
    (down, across), (height, width) = raster.block_shapes[0], raster.shape
    block = f"{(width - 1) // across}_{(height - 1) // down}"
    for band in {1, raster.count}:
        offset, length = (raster.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", band) for what in ("OFFSET", "SIZE"))
        if offset and length and int(offset) + int(length) > size:
            raise RasterError(
                f"{path} is cut short: it has {size} bytes, and its last pixels would end at byte "
                f"{int(offset) + int(length)}. Copy or download it again"
            )
