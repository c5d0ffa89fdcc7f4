"""What a name stands for: a product as it is downloaded, STAC items, or neither."""

from pathlib import Path

from fewshot.errors import RasterError
from fewshot.geo.downloads import landsat, sentinel2
from fewshot.geo.downloads.package import open_package
from fewshot.geo.downloads.product import Product
from fewshot.geo.downloads.stac import open_items

_MARKS = (*landsat.MARKS, *sentinel2.MARKS)


def open_products(source: str) -> list[Product] | None:
    """Return the products that a name leads to; None where it is that of a plain raster.

    Args:
        source: A folder or archive of Sentinel-2 or Landsat, or the file in it that describes it; or STAC items.

    Raises:
        DamagedDataError: if something is there and cannot be read.
        DataNotFoundError: if there is nothing at an address.
        RasterError: if a folder is none of a product.
    """
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return None
    described = is_file and source.lower().endswith(_MARKS)
    package = open_package(path.parent if described else path, marks=_MARKS)
    found = (sentinel2.open_safe(package) or landsat.open_landsat(package)) if package else None
    if found:
        return found
    if is_folder and path.suffix.lower() != ".zarr":
        raise RasterError(
            f"{source} is a folder without the file that describes a product (MTD_MSIL1C.xml or MTD_MSIL2A.xml of "
            "Sentinel-2, ..._MTL.txt of Landsat); name a product's own folder, or its rasters"
        )
    return open_items(source)
