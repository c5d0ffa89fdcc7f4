"""Sentinel-2 products in ESA's SAFE layout, levels 1C and 2A."""

import re
from collections import defaultdict
from collections.abc import Iterator
from xml.etree import ElementTree

from fewshot.errors import DamagedDataError
from fewshot.geo.downloads.package import Package
from fewshot.geo.downloads.product import Asset, Product

MARKS = ("mtd_msil1c.xml", "mtd_msil2a.xml")
"""How the file that describes a product ends."""

_IMAGE = re.compile(
    r"(?:^|.*/)GRANULE/(?P<granule>[^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>B\d[\dA]|SCL|AOT|WVP)(?:_(?P<size>\d\d)m)?"
    r"\.(?:jp2|tif)",
    re.IGNORECASE,
)
_ORDER = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Physical bands by the number that a product's metadata gives them."""

_CIRRUS = "B10"  # shows no ground


def open_safe(package: Package) -> list[Product]:
    """Return the granules of a product, empty where the package is none.

    Raises:
        DamagedDataError: if what describes it cannot be read, or a granule has no image.
    """
    described = [name for name in package.names if name.lower().endswith(MARKS)]
    if not described:
        return []
    name = min(described, key=len)
    try:
        tree = ElementTree.fromstring(package.read(name))
    except ElementTree.ParseError as error:
        raise DamagedDataError(f"{name} of {package.path} cannot be read: {error}") from error
    told = dict(_texts(tree))
    date = (told.get("DATATAKE_SENSING_START") or told.get("PRODUCT_START_TIME") or "")[:10]
    scalings = _scalings(tree, told)
    # Each granule's images, the finest of each band.
    images: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for path in package.names:
        if found := _IMAGE.fullmatch(path):
            best = images[found["granule"]].get(found["band"].upper())
            if best is None or (found["size"] or "") < best[0]:
                images[found["granule"]][found["band"].upper()] = found["size"] or "", path
    if not images:
        raise DamagedDataError(f"{package.path} has no image in GRANULE/*/IMG_DATA; copy or download it again")
    products = []
    for granule, files in sorted(images.items()):
        assets = {
            band: Asset(band, package.source(path), scalings.get(_plain(band)), 0.0, sensor="sentinel2")
            for band, (_, path) in sorted(files.items())
        }
        bands = tuple(band for band in assets if _plain(band) in _ORDER and _plain(band) != _CIRRUS)
        products.append(Product(f"{package.path.name}, {granule}", date, assets, bands))
    return products


def _plain(band: str) -> str:
    """Return "B2" of "B02"."""
    return re.sub(r"^B0", "B", band)


def _texts(tree: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Yield the tag, without its namespace, and the text of each element."""
    for element in tree.iter():
        yield element.tag.rsplit("}", 1)[-1], (element.text or "").strip()


def _scalings(tree: ElementTree.Element, told: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Return scale and offset from numbers to reflectance of each band.

    Raises:
        DamagedDataError: if they are no numbers.
    """
    try:
        worth = float(told.get("BOA_QUANTIFICATION_VALUE") or told.get("QUANTIFICATION_VALUE") or 10000)
        added = dict.fromkeys(_ORDER, 0.0)
        numbers = dict(enumerate(_ORDER))
        for element in tree.iter("Spectral_Information"):
            numbers[int(element.attrib["bandId"])] = element.attrib["physicalBand"]
        for element in tree.iter():
            if element.tag.rsplit("}", 1)[-1] in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
                added[numbers[int(element.attrib["band_id"])]] = float(element.text or 0)
        return {band: (1 / worth, offset / worth) for band, offset in added.items()}
    except (ValueError, KeyError, ZeroDivisionError) as error:
        raise DamagedDataError(f"the scale in a Sentinel-2 product's metadata is not understood: {error}") from error
