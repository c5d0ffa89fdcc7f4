"""Landsat products of collection 2, levels 1 and 2, with their `_MTL.txt`."""

import math
import re

from fewshot.errors import DamagedDataError
from fewshot.geo.downloads.package import Package
from fewshot.geo.downloads.product import Asset, Product
from fewshot.geo.products import date_in

MARKS = ("_mtl.txt",)
"""How the file that describes a product ends."""

_NO_COLOUR = ("B8", "B9")  # of level 1: panchromatic, and cirrus


def open_landsat(package: Package) -> list[Product]:
    """Return the products of a package, empty where it has none.

    Raises:
        DamagedDataError: if what describes one cannot be read.
    """
    return [_open_product(package, name) for name in package.describing(MARKS)]


def _open_product(package: Package, described: str) -> Product:
    """Return the product that a file of the package describes."""
    groups = read_groups(package.read(described).decode("utf-8", "replace"))
    told = {key: value for group in groups.values() for key, value in group.items()}
    # The records of processing name the files of level 1 too, of which a product of level 2 was made.
    contents = groups.get("PRODUCT_CONTENTS", told)
    folder = described.rpartition("/")[0]
    try:
        scalings = _scalings(groups, told)
    except (ValueError, ZeroDivisionError) as error:
        raise DamagedDataError(f"{described} of {package.path} has a scale that is none: {error}") from error
    sensor = told.get("SPACECRAFT_ID", "").replace("_", "").lower()
    assets = {}
    for key, file in contents.items():
        path = f"{folder}/{file}".lstrip("/")
        name = _band(key)
        if name and path in package.names:
            assets[name] = Asset(name, package.source(path), scalings.get(name), 0.0, sensor=sensor)
    if not assets:
        raise DamagedDataError(f"{package.path} has none of the files that {described} names; download it again")
    bands = tuple(name for name in assets if name in scalings and name not in _NO_COLOUR)
    name, date = contents.get("LANDSAT_PRODUCT_ID", package.path.name), date_in(told.get("DATE_ACQUIRED", ""))
    return Product(name, date, assets, bands)


def read_groups(text: str) -> dict[str, dict[str, str]]:
    """Return the keys and values of a file of `KEY = VALUE` lines, by the group that they stand in."""
    groups: dict[str, dict[str, str]] = {}
    inside = [""]
    for line in text.splitlines():
        key, _, value = (part.strip().strip('"') for part in line.partition("="))
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP":
            inside = inside[:-1] or [""]
        elif value:
            groups.setdefault(inside[-1], {})[key] = value
    return groups


def _band(key: str) -> str:
    """Return what the file under a key holds: a band, by its number, or a mask; "" for others."""
    if key == "FILE_NAME_QUALITY_L1_PIXEL":
        return "QA_PIXEL"
    found = re.fullmatch(r"FILE_NAME_BAND_(\w+)", key)
    return "" if found is None else f"B{found[1]}" if found[1][0].isdigit() else found[1]


def _scalings(groups: dict[str, dict[str, str]], told: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Return scale and offset to reflectance of each band; level 1 is brought to a sun in the zenith."""
    surface = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS")
    own = surface or groups.get("LEVEL1_RADIOMETRIC_RESCALING", {})
    sun = 1.0 if surface else math.sin(math.radians(float(told.get("SUN_ELEVATION", 90))))
    found = {}
    for key, value in own.items():
        if band := re.fullmatch(r"REFLECTANCE_MULT_BAND_(\w+)", key):
            found[f"B{band[1]}"] = float(value) / sun, float(own.get(f"REFLECTANCE_ADD_BAND_{band[1]}", 0)) / sun
    return found
