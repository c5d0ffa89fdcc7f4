"""STAC items: one, or a collection of them, in a JSON file or at an address."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from fewshot.errors import DamagedDataError, DataNotFoundError
from fewshot.geo.downloads.product import Asset, Product
from fewshot.geo.products import date_in, known_scaling, sensor_in
from fewshot.geo.spectrum import Spectrum, read_tags

_SECONDS = 60.0  # that an address may take to answer
_MOST_PAGES = 100  # of one answer: a search without bounds would go through the whole catalogue
_IMAGES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-hdf", "application/vnd+zarr")


def open_items(source: str) -> list[Product] | None:
    """Return the items that a JSON file or address holds, None where it holds none.

    Args:
        source: A path or an address that ends in .json or .geojson, or an address of items of a STAC API.

    Raises:
        DamagedDataError: if an item has no assets or says what it must not, what is at an address is no JSON, or its
            pages have no end.
        DataNotFoundError: if there is nothing at an address.
    """
    place = urlsplit(source)
    remote = place.scheme in ("http", "https")
    named = place.path.lower().endswith((".json", ".geojson"))
    if not (named or (remote and re.search(r"/(items(/[^/]+)?|search)$", place.path))):
        return None
    if not remote and not Path(source).is_file():
        return None
    products: list[Product] = []
    for read, page in _pages(source) if remote else [(_parsed(Path(source).read_bytes(), source), source)]:
        items = read.get("features", [read]) if isinstance(read, dict) else []
        if not isinstance(items, list) or not all(_is_item(item) for item in items):
            return None
        products += [_product(item, page) for item in items]
    return products or None


def _pages(address: str) -> Iterator[tuple[Any, str]]:
    """Yield what JSON says at an address and at those of the pages that follow, each with its address.

    Raises:
        DamagedDataError: if there is no end of them, or they are asked for in another way than by their address.
        DataNotFoundError: if there is nothing at one.
    """
    seen = [address]
    while True:
        read = _parsed(_fetched(seen[-1]), seen[-1])
        yield read, seen[-1]
        link = _next_page(read)
        if link is None:
            return
        if str(link.get("method", "GET")).upper() != "GET":
            raise DamagedDataError(
                f"the page that follows {seen[-1]} is not asked for by its address but with {link['method']}; save the "
                "items that are wanted as one collection, and name that"
            )
        following = urljoin(seen[-1], link["href"])
        if following in seen or len(seen) == _MOST_PAGES:
            raise DamagedDataError(
                f"{address} has more than {_MOST_PAGES} pages, or comes back to {following}; expected the items of a "
                "scene. Ask for fewer, by place and date"
            )
        seen.append(following)


def _next_page(read: Any) -> Mapping[str, Any] | None:
    """Return the link of a collection to its next page, None where it has none."""
    links = read.get("links") if isinstance(read, dict) and read.get("type") == "FeatureCollection" else None
    named = (link for link in (links if isinstance(links, list) else ()) if isinstance(link, dict))
    return next((link for link in named if link.get("rel") == "next" and isinstance(link.get("href"), str)), None)


def _fetched(address: str) -> bytes:
    """Return what is at an address."""
    try:
        answer = httpx.get(address, follow_redirects=True, timeout=_SECONDS)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DataNotFoundError(f"{address} cannot be fetched: {error or type(error).__name__}") from error
    return answer.content


def _parsed(content: bytes, source: str) -> Any:
    """Return what JSON says."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedDataError(f"{source} is no JSON: {error}") from error


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "Feature" and isinstance(item.get("assets"), dict)


def _product(item: Mapping[str, Any], source: str) -> Product:
    """Return one item as a product."""
    properties = item.get("properties") or {}
    if not isinstance(properties, dict):
        raise DamagedDataError(
            f"the properties of item {item.get('id')} of {source} are {str(properties)[:60]!r}; expected an object of "
            "names and values, as STAC has them"
        )
    tags = {key.split(":")[-1]: str(value) for key, value in properties.items()}
    assets = {key: _asset(key, entry, tags, source) for key, entry in item["assets"].items() if _has_place(entry)}
    if not assets:
        raise DamagedDataError(f"item {item.get('id')} of {source} has no asset with an address")
    date = date_in(str(properties.get("datetime") or properties.get("start_datetime") or ""))
    return Product(f"item {item.get('id')} of {source}", date, assets, _bands(item["assets"]))


def _has_place(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("href"), str)


def _asset(key: str, entry: Mapping[str, Any], tags: Mapping[str, str], source: str) -> Asset:
    """Return one asset, its scale as the item says."""
    told = _told(entry)
    scale, offset = (_number(told, word, f"{key} of {source}") for word in ("scale", "offset"))
    if tags.get("boa_offset_applied") == "True":
        offset = 0.0  # by whoever publishes the item, though it still names the product's own
    stated = None if scale is None else (scale, offset or 0.0)
    nodata = told.get("nodata")
    href = entry["href"]
    return Asset(
        key,
        _place_of(href, source),
        stated or known_scaling(href, tags),
        float(nodata) if isinstance(nodata, int | float) else None,
        _spectrum(told),
        sensor_in(href, tags),
    )


def _number(told: Mapping[str, Any], word: str, asset: str) -> float | None:
    """Return a number that is told of an asset, None where it is not."""
    value = told.get(word)
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise DamagedDataError(f"the {word} of asset {asset} is {str(value)[:60]!r}; expected a number. Correct the item")


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of an asset's only band, in the words of the extensions or of STAC 1.1."""
    told: dict[str, Any] = {}
    for words in (entry, *(_only(entry.get(key)) for key in ("eo:bands", "raster:bands", "bands"))):
        told |= {key.split(":")[-1]: value for key, value in words.items() if value is not None}
    return told


def _only(bands: Any) -> Mapping[str, Any]:
    """Return what a list says of one band, nothing if it lists more."""
    return bands[0] if isinstance(bands, list) and len(bands) == 1 and isinstance(bands[0], dict) else {}


def _spectrum(told: Mapping[str, Any]) -> Spectrum:
    """Return where a band lies in the spectrum."""
    words = {
        "center_wavelength": told.get("center_wavelength"),
        "full_width_half_max": told.get("full_width_half_max"),
        "common_name": told.get("common_name"),
    }
    found: Sequence[Spectrum] = read_tags([{key: str(value) for key, value in words.items() if value}], {})
    return found[0]


def _place_of(href: str, source: str) -> str:
    """Return where an asset is: at an address, or in a file named from the folder of the items."""
    if urlsplit(source).scheme in ("http", "https"):
        return urljoin(source, href)
    if href.startswith("file://"):
        return urlsplit(href).path
    if re.match(r"\w\w+:|/", href):
        return href
    return str(Path(source).parent / href)


def _bands(assets: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the assets that hold one band of measured numbers each, as GeoTIFF where there is a choice."""
    found: dict[str, list[tuple[int, str]]] = {}
    for key, entry in assets.items():
        kind = str(entry.get("type", "")).split(";")[0] if isinstance(entry, dict) else ""
        band = _only(entry.get("eo:bands") or entry.get("bands")) if _has_place(entry) else {}
        name = band.get("name") or band.get("common_name") or band.get("eo:common_name")
        if name and (not kind or kind in _IMAGES):
            found.setdefault(str(name), []).append((_IMAGES.index(kind) if kind else len(_IMAGES), key))
    return tuple(min(keys)[1] for keys in found.values())
