"""STAC items as a scene: from a file or an address, their assets by name, their numbers worth what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import DamagedDataError, DataNotFoundError, RasterError
from fewshot.geo.bands import Band
from fewshot.geo.composing import PicturePlan
from fewshot.geo.composite import open_dates
from fewshot.geo.downloads.stac import open_items
from fewshot.geo.grid import Grid
from fewshot.geo.pictures import open_pictures
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
ALL = Window(0, 0, 20, 30)


def asset(href: str, **more: Any) -> dict[str, Any]:
    return {"href": href, "type": TIFF, "roles": ["data"]} | more


def item(name: str, date: str, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    said = {"datetime": f"{date}T10:10:31Z", "platform": "sentinel-2a"} | properties
    return {
        **{"type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": []},
        **{"properties": said, "assets": assets},
    }


@pytest.fixture
def items(make_grid: Make, tmp_path: Path) -> Path:
    """A collection of two items with clouds, whose assets lie beside it; reflectance is 0.1 and 0.3."""
    features = []
    for number, date in enumerate(("2024-06-01", "2024-06-11")):
        folder, assets = f"{date}", {}
        (tmp_path / folder).mkdir()
        for key, band in (("B04", "red"), ("B08", "nir")):
            pixels = np.full((20, 30), 2000 + 2000 * number, np.uint16)
            write_raster(tmp_path / folder / f"{key}.tif", pixels, make_grid(), nodata=0)
            bands = {
                "eo:bands": [{"name": key, "common_name": band, "center_wavelength": 0.665 if band == "red" else 0.833}]
            }
            assets[key] = asset(f"./{folder}/{key}.tif", **bands, **{"raster:bands": [{"scale": 1e-4, "offset": -0.1}]})
        scl = np.full((10, 15), 4, np.uint8)
        scl[:, : 5 + 5 * number] = 9
        write_raster(tmp_path / folder / "SCL.tif", scl, make_grid(10, 15, pixel=(20, 20)))
        assets["SCL"] = asset(f"{folder}/SCL.tif")
        assets["visual"] = asset(
            f"{folder}/no.tif", **{"eo:bands": [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]}
        )
        assets["thumbnail"] = {"href": f"{folder}/no.jpg", "type": "image/jpeg"}
        features.append(item(f"S2A_{number}", date, assets))
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def read(source: str, **plan: Any) -> tuple[np.ndarray, np.ndarray]:
    pictures = open_pictures([source], PicturePlan(**plan))
    return open_dates(pictures, "", [Band("B4", 665), Band("B8", 833)]).read(ALL)


def test_items_of_a_file_are_dates_with_their_clouds(items: Path) -> None:
    values, valid = read(str(items), mask="SCL")
    assert np.array_equal(valid.any(axis=0), np.arange(30) >= 10)
    np.testing.assert_allclose(values[:, 10:20], 0.1, atol=1e-6)  # the second date has clouds there
    np.testing.assert_allclose(values[:, 20:], 0.2, atol=1e-6)
    chosen, _ = read(str(items), assets=("B04", "B08"))
    np.testing.assert_allclose(chosen, 0.2, atol=1e-6)
    with pytest.raises(RasterError, match=r"item S2A_0 of .* has no B11; it has B04, B08, SCL, visual, thumbnail"):
        read(str(items), assets=("B04", "B11"))


def test_one_item_is_a_scene(items: Path, tmp_path: Path) -> None:
    one = json.loads(items.read_text())["features"][0]
    (tmp_path / "one.json").write_text(json.dumps(one))
    values, valid = read(str(tmp_path / "one.json"))
    assert valid.all() and np.allclose(values, 0.1)


def test_items_and_assets_are_read_from_addresses(address: str, items: Path) -> None:
    near, far = read(str(items), mask="SCL"), read(f"{address}/items.json", mask="SCL")
    assert np.array_equal(near[0], far[0]) and np.array_equal(near[1], far[1])
    with pytest.raises(DataNotFoundError, match=r"no\.json cannot be fetched: .*404"):
        open_items(f"{address}/no.json")
    with pytest.raises(DamagedDataError, match=r"B04\.tif\.json|no JSON"):
        (items.parent / "bad.json").write_bytes(b"II*\0")
        open_items(f"{address}/bad.json")


def test_pages_that_follow_are_read(address: str, items: Path) -> None:
    whole = json.loads(items.read_text())
    (items.parent / "deep").mkdir()
    for number, (feature, name) in enumerate(zip(whole["features"], ("first.json", "deep/second.json"), strict=True)):
        links = [{"rel": "self", "href": name}, {"rel": "next", "href": "deep/second.json"}]
        if number:
            links = []
            for own in feature["assets"].values():
                own["href"] = f"../{own['href']}"  # from the page that it stands on
        page = {"type": "FeatureCollection", "features": [feature], "links": links}
        (items.parent / name).write_text(json.dumps(page))
    near, far = read(str(items), mask="SCL"), read(f"{address}/first.json", mask="SCL")
    assert np.array_equal(near[0], far[0]) and np.array_equal(near[1], far[1])


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"href": "page.json"}, "has more than 100 pages, or comes back to .*page.json"),
        ({"href": "search", "method": "POST", "body": {"token": "x"}}, "not asked for by its address but with POST"),
    ],
    ids=["in a circle", "by POST"],
)
def test_pages_without_end_or_address_are_refused(
    address: str, items: Path, link: dict[str, Any], message: str
) -> None:
    page = json.loads(items.read_text()) | {"links": [{"rel": "next"} | link]}
    (items.parent / "page.json").write_text(json.dumps(page))
    with pytest.raises(DamagedDataError, match=message):
        open_items(f"{address}/page.json")


@pytest.mark.parametrize(
    ("more", "properties", "expected"),
    [
        ({"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 7}]}, {}, (1e-4, -0.1, 7.0)),
        ({"raster:scale": 1e-4, "raster:offset": -0.2}, {}, (1e-4, -0.2, None)),
        ({"bands": [{"name": "B04", "raster:scale": 1e-3, "nodata": 0}]}, {}, (1e-3, 0.0, 0.0)),
        (
            {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
            {"earthsearch:boa_offset_applied": True},
            (1e-4, 0.0, None),
        ),
        ({}, {"s2:processing_baseline": "05.10", "constellation": "Sentinel 2"}, (1e-4, -0.1, None)),
        ({}, {}, None),
    ],
    ids=["raster extension", "of the asset", "STAC 1.1", "offset applied", "baseline", "nothing said"],
)
def test_what_numbers_are_worth(
    tmp_path: Path, more: dict[str, Any], properties: dict[str, Any], expected: tuple[float, float, float | None] | None
) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("x", "2024-06-01", {"B04": asset("B04.tif", **more)}, **properties)))
    (product,) = open_items(str(path)) or []
    found = product.find("B4")
    assert (found.scaling and (*found.scaling, found.nodata)) == expected
    assert (found.sensor, product.date, found.source) == ("sentinel2", "2024-06-01", str(tmp_path / "B04.tif"))


@pytest.mark.parametrize(
    ("more", "changed", "message"),
    [
        (
            {"raster:bands": [{"scale": 1e-4, "offset": "x"}]},
            {},
            r"offset of asset B04 of .*item\.json is 'x'; expected a",
        ),
        ({"raster:bands": [{"scale": "1e-4"}]}, {}, "scale of asset B04 of .* is '1e-4'; expected a number"),
        ({}, {"properties": ["2024-06-01"]}, "properties of item x of .* are .*; expected an object"),
    ],
    ids=["offset", "scale", "properties"],
)
def test_an_item_that_says_what_it_must_not_is_refused(
    tmp_path: Path, more: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("x", "2024-06-01", {"B04": asset("B04.tif", **more)}) | changed))
    with pytest.raises(DamagedDataError, match=message):
        open_items(str(path))


def test_a_day_that_there_is_not_is_no_date_of_an_item(tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("x", "2024-06-31", {"B04": asset("B04.tif")})))
    (product,) = open_items(str(path)) or []
    assert product.date == ""


def test_bands_are_the_geotiffs_of_one_band(tmp_path: Path) -> None:
    red = {"eo:bands": [{"name": "red", "common_name": "red"}]}
    assets = {
        "red-jp2": asset("red.jp2", **red) | {"type": "image/jp2"},
        "red": asset("red.tif", **red),
        "nir": asset("https://host/nir.tif", **{"eo:bands": [{"name": "nir"}]}),
        "visual": asset("tci.tif", **{"eo:bands": [{"name": "red"}, {"name": "green"}]}),
        "scl": asset("scl.tif"),
        "broken": {"type": TIFF},
    }
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("x", "2024-06-01", assets)))
    (product,) = open_items(str(path)) or []
    assert product.bands == ("red", "nir")
    assert product.find("SCL").source == str(tmp_path / "scl.tif")
    assert product.find("nir").source == "https://host/nir.tif"
    assert round(product.find("red").spectrum.wavelength or 0) == 660


@pytest.mark.parametrize(
    "content",
    [{"type": "FeatureCollection", "features": []}, {"type": "Feature", "geometry": None, "properties": {}}, [], 3],
)
def test_other_json_holds_no_items(tmp_path: Path, content: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert open_items(str(tmp_path / "x.json")) is None
    assert open_items('STACIT:"x.json":asset=B04') is None
