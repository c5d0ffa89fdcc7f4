"""A model that takes any unit and any of its bands, on scenes as people have them: made up, and real ones."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import RasterError, RecipeError
from fewshot.exported.card import AdaptedLayout, CardBand, card_from_json
from fewshot.geo.rasters import describe_raster
from fewshot.geo.windows import Window
from fewshot.mapping.reading import Reading
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import Case, output, read, run, values_of
from tests.mapping.fakes import PIXEL, FakePredictor, write_scene

CENTRES = {"B1": 443, "B2": 490, "B3": 560, "B4": 665, "B5": 705, "B6": 740, "B7": 783, "B8A": 865}
CENTRES |= {"B11": 1610, "B12": 2190}
WIDTHS = {"B1": 20, "B2": 65, "B3": 35, "B4": 30, "B5": 15, "B6": 15, "B7": 20, "B8A": 20, "B11": 90, "B12": 180}
TEN = replace(
    PIXEL,
    bands=tuple(
        CardBand(name, 1e-4, wavelength=(CENTRES | {"B12": 2190})[name], width=w) for name, w in WIDTHS.items()
    ),
    adapted=AdaptedLayout(1, 10, 77),
    unit_free=True,
    missing_bands=True,
)
LANDSAT = ("B2", "B3", "B4", "B8A", "B11", "B12")


def numbers(files: Any, reading: Reading | None = None) -> dict[str, int]:
    match = open_scene(files, TEN, reading or Reading()).match
    return {band.name: number for band, number in zip(match.bands, match.numbers, strict=True) if number}


def test_a_card_of_before_needs_its_bands_and_its_unit() -> None:
    plain = json.loads(PIXEL.to_json())
    for key in ("unit_free", "missing_bands"):
        del plain[key]
    for band in plain["bands"]:
        del band["width"]
    assert card_from_json(json.dumps(plain)) == PIXEL
    assert card_from_json(TEN.to_json()) == TEN


def test_a_scene_of_few_bands_in_any_unit_is_mapped(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(names=("red", "nir"))
    write_scene(case.scene, case.pixels * 2.55, case.grid, names=("red", "nir"), nodata=None)
    said: list[str] = []
    report = run(case.request(output(tmp_path)), FakePredictor(TEN), say=said.append)
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.99
    assert said == [
        "Bands: B4 (665 nm) <- band 1 'red' (660 nm); B8A (865 nm) <- band 2 'nir' (842 nm); "
        "missing: B1, B2, B3, B5, B6, B7, B11, B12."
    ]
    assert any("their unit does not matter" in note for note in report.notes)
    bands = {band["name"]: band for band in json.loads(output(tmp_path).with_suffix(".json").read_text())["bands"]}
    assert bands["B4"] == {
        **{"name": "B4", "wavelength": 665, "number": 1, "file_name": "red", "file_wavelength": 660.0},
        **{"how": "wavelength", "wavelength_from": "name"},
    }
    assert (bands["B5"]["number"], bands["B5"]["how"]) == (None, "missing")


def test_numbers_are_sent_as_stored_and_missing_bands_as_0(make_case: Callable[..., Case]) -> None:
    case = make_case(names=("red", "nir"), empty=np.s_[:20, :15])
    values, valid = open_scene([case.scene], TEN).read(Window(0, 0, 40, 40))
    assert np.array_equal(values[20:, :, [3, 7]], case.pixels[20:40, :40])
    assert not values[..., [0, 1, 2, 4, 5, 6, 8, 9]].any()
    assert not valid[:20, :15].any() and valid.sum() == 1600 - 300
    # What has no data looks like the rest of the picture.
    np.testing.assert_allclose(values[3, 3, [3, 7]], values[valid][:, [3, 7]].mean(axis=0), rtol=1e-5)
    scaled, _ = open_scene([case.scene], TEN, Reading(scale=2.0, offset=-1.0)).read(Window(20, 20, 4, 4))
    np.testing.assert_allclose(scaled[..., [3, 7]], case.pixels[20:24, 20:24] * 2.0 - 1, rtol=1e-6)


def test_a_scene_with_next_to_none_of_the_bands_is_refused(make_case: Callable[..., Case]) -> None:
    case = make_case(names=("red", "VV"))
    with pytest.raises(RasterError, match=r"has 2 bands, of which the model knows 1: .*--sensor"):
        open_scene([case.scene], TEN)
    write_scene(case.scene, case.pixels[..., :1], case.grid, names=("red",))
    assert numbers([case.scene]) == {"B4": 1}


def test_any_unit_is_only_for_models_that_take_it(make_case: Callable[..., Case]) -> None:
    case = make_case(names=("B4 665 nm", "B8 842 nm"))
    with pytest.raises(RecipeError, match=r"--scale auto: 'nearest mean' reads reflectance, not any.*--scale 1e-4"):
        open_scene([case.scene], PIXEL, Reading(scale="auto"))
    assert numbers([case.scene], Reading(scale="auto")) == {"B4": 1, "B8A": 2}


def test_products_have_a_scale_that_their_files_do_not_state(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(name="LC08_L2SP_232066_20190727_20200827_02_T1_SR")
    window = Window(0, 0, 8, 8)
    reflectance = replace(PIXEL, bands=tuple(replace(band, scale=1.0) for band in PIXEL.bands))
    expected = case.pixels[:8, :8]
    values, _ = open_scene([case.scene], reflectance).read(window)
    np.testing.assert_allclose(values, expected * 2.75e-5 - 0.2, atol=1e-6)
    for reading, scale, offset in ((Reading(scale=1e-4), 1e-4, 0.0), (Reading(scale=1e-4, offset=-0.1), 1e-4, -0.1)):
        values, _ = open_scene([case.scene], reflectance, reading).read(window)
        np.testing.assert_allclose(values, expected * scale + offset, atol=1e-6)


@pytest.fixture(scope="session")
def scenes(data_root: Path) -> Path:
    folder = data_root / "scenes"
    if not (folder / "potsdam_enmap" / "scene.tif").is_file():
        pytest.skip(f"real scenes are not in {folder}")
    return folder


SIX = dict(zip(LANDSAT, range(1, 7), strict=True))
MODIS = {"B2": 1, "B4": 2, "B8A": 3, "B12": 4}
SCENES = {
    "barva_landsat5/scene_1986.tif": dict(list(SIX.items())[:4]),
    "barva_landsat5/scene_2001.tif": dict(list(SIX.items())[:4]),
    "chiapas_landsat7/scene.tif": SIX,
    "chiapas_landsat7/scene_2002.tif": SIX,
    "nc_landsat7/scene.tif": dict(list(SIX.items())[:5]),
    "rondonia_landsat8/scene.tif": SIX,
    "rstoolbox_para_s2/scene.tif": dict(zip(WIDTHS, (1, 2, 3, 4, 5, 6, 7, 9, 11, 12), strict=True)),
    "potsdam_enmap/scene_s2_bands.tif": dict(zip(WIDTHS, (1, 2, 3, 4, 5, 6, 7, 9, 10, 11), strict=True)),
    "potsdam_enmap/scene.tif": dict(zip(WIDTHS, (6, 16, 30, 48, 54, 59, 65, 75, 143, 186), strict=True)),
    **{f"mato_grosso_modis_series/scene_{year}_{year + 1}.tif": MODIS for year in range(2007, 2013)},
}
"""Every real scene that has a CRS: which of its bands is which of the model's, or in the middle of those averaged."""


@pytest.mark.parametrize("scene", SCENES)
def test_real_scenes_say_their_bands(scenes: Path, scene: str) -> None:
    assert numbers([scenes / scene]) == SCENES[scene]


def test_every_real_scene_with_a_crs_is_in_the_table(scenes: Path) -> None:
    with_crs = [path for path in scenes.glob("*/scene*.tif") if describe_raster(path).grid.crs is not None]
    assert {str(path.relative_to(scenes)) for path in with_crs} == SCENES.keys()


@pytest.mark.parametrize(
    ("file", "sensor", "expected"),
    [
        ("landsat_leaf_on", "landsat8", {"B1": 1, **dict(zip(LANDSAT, range(2, 8), strict=True))}),
        ("naip_2013", "naip", {"B2": 3, "B3": 2, "B4": 1, "B8A": 4}),
    ],
)
def test_real_scenes_without_names_need_their_sensor(
    data_root: Path, file: str, sensor: str, expected: dict[str, int]
) -> None:
    path = data_root / "scene_maryland" / f"{file}.tif"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    assert numbers([path], Reading(sensor=sensor)) == expected
    with pytest.raises(RasterError, match="--sensor"):
        numbers([data_root / "scene_maryland" / "landsat_leaf_on.tif"])


def test_a_real_spectrometer_is_averaged_to_the_bands_of_the_model(scenes: Path) -> None:
    """Near what the publishers of the copy averaged with the responses of Sentinel-2."""
    scene = open_scene([scenes / "potsdam_enmap" / "scene.tif"], TEN)
    window = Window(0, 0, scene.grid.height, scene.grid.width)
    values, valid = scene.read(window)
    expected, seen = open_scene([scenes / "potsdam_enmap" / "scene_s2_bands.tif"], TEN).read(window)
    assert np.array_equal(valid, seen) and valid.sum() == 18432
    for place, band in enumerate(TEN.bands):
        one, two = values[valid][:, place], expected[valid][:, place]
        assert np.corrcoef(one, two)[0, 1] > 0.99, band.name
        assert abs(one - two).mean() < 0.06 * two.mean(), band.name


def test_a_real_scene_of_another_sensor_is_mapped_from_its_points(scenes: Path, tmp_path: Path) -> None:
    folder = scenes / "chiapas_landsat7"
    case = Case(folder / "scene.tif", folder / "labels.gpkg", None, None, None)  # type: ignore[arg-type]
    report = run(case.request(output(tmp_path), labels=LabelPlan(case.labels, holdout=0.5)), FakePredictor(TEN))
    assert report.accuracy is not None and report.accuracy.overall > 0.6
