"""What a name stands for: a product as it is downloaded, STAC items, or neither."""

from dataclasses import replace
from pathlib import Path

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
    """
    path = Path(source)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return None
    described = is_file and source.lower().endswith(_MARKS)
    package = open_package(path.parent if described else path, marks=_MARKS)
    if package and described:
        package = replace(package, named=path.name)
    found = (sentinel2.open_safe(package) or landsat.open_landsat(package)) if package else None
    if found:
        return found
    return open_items(source)
