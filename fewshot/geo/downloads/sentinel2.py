"""Sentinel-2 products in ESA's SAFE layout, levels 1C and 2A."""

import re
from collections import defaultdict
from collections.abc import Iterator
from xml.etree import ElementTree

from fewshot.errors import DamagedDataError
from fewshot.geo.downloads.package import Package
from fewshot.geo.downloads.product import Asset, Product
from fewshot.geo.products import date_in

MARKS = ("mtd_msil1c.xml", "mtd_msil2a.xml")
"""How the file that describes a product ends."""

_IMAGE = re.compile(
    r"GRANULE/(?P<granule>[^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]*_(?P<band>B\d[\dA]|SCL|AOT|WVP)(?:_(?P<size>\d\d)m)?"
    r"\.(?:jp2|tif)",
    re.IGNORECASE,
)
_ORDER = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Physical bands by the number that a product's metadata gives them."""

_CIRRUS = "B10"  # shows no ground


def open_safe(package: Package) -> list[Product]:
    """Return the granules of the products of a package, empty where it has none.

    Raises:
        DamagedDataError: if what describes a product cannot be read, or it has no image.
    """
    return [product for name in package.describing(MARKS) for product in _open_granules(package, name)]


def _open_granules(package: Package, described: str) -> list[Product]:
    """Return the granules of the product that a file of the package describes."""
    try:
        parser = ElementTree.XMLParser(target=_PlainTree())
        tree = ElementTree.fromstring(package.read(described), parser)
    except (ElementTree.ParseError, LookupError) as error:
        raise DamagedDataError(f"{described} of {package.path} cannot be read: {error}") from error
    told = dict(_texts(tree))
    date = date_in(told.get("DATATAKE_SENSING_START") or told.get("PRODUCT_START_TIME") or "")
    scalings = _scalings(tree, told)
    images = _finest(package, described)
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


def _finest(package: Package, described: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Return by granule and band the size of pixels and the name of the finest image beside a file."""
    folder = "".join(described.rpartition("/")[:2])
    images: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for path in package.names:
        found = _IMAGE.fullmatch(path.removeprefix(folder)) if path.startswith(folder) else None
        if found is not None:
            best = images[found["granule"]].get(found["band"].upper())
            if best is None or (found["size"] or "") < best[0]:
                images[found["granule"]][found["band"].upper()] = found["size"] or "", path
    return images


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses documents that declare entities, which may stand for more than memory holds."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a declaration."""
        raise ElementTree.ParseError(f"expected no <!DOCTYPE {name}>, which no product has")


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
