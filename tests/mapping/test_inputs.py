"""Scenes as they come: odd, damaged, in other units, elsewhere; mapped, or refused with a reason."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from fewshot.errors import (
    ArtifactError,
    FewshotError,
    RasterError,
    RecipeError,
)
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping import fakes
from tests.mapping.conftest import Case, made_files, output, read, run, values_of
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, draw_points, grid_of, write_points, write_scene


@pytest.mark.parametrize("size", [(1, 60), (60, 1), (3, 5), (1, 2), (31, 33)])
@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_scenes_smaller_than_a_window_are_mapped(
    make_case: Callable[..., Case], tmp_path: Path, size: tuple[int, int], card: Any
) -> None:
    case = make_case(*size, each=0)
    truth = np.zeros(size, np.int64)
    truth.flat[: truth.size // 2] = 1
    write_scene(case.scene, fakes.SPECTRA[truth].astype(np.uint16), case.grid)
    points = [(0, 0, "forest"), (size[0] - 1, size[1] - 1, "water")]
    write_points(case.labels, case.grid, points)
    windows = WindowPlan(stride=1) if card is PATCH else WindowPlan()
    run(case.request(output(tmp_path), windows=windows), FakePredictor(card))
    found = read(output(tmp_path))
    assert found.shape == size and found.min() > 0
    if card is PIXEL or max(size) > 30:
        assert found[0, 0] == 1 and found[-1, -1] == 2
    if card is PIXEL:
        assert np.array_equal(found == 1, truth == 1)


@pytest.mark.parametrize("degrees", [0, 33, 90])
def test_rotated_scenes_with_oblong_pixels_keep_their_place(
    make_case: Callable[..., Case], tmp_path: Path, degrees: float
) -> None:
    case = make_case(60, 50, degrees=degrees, pixel=(11, 47))
    run(case.request(output(tmp_path)))
    with rasterio.open(output(tmp_path)) as raster:
        assert np.allclose(raster.transform, case.grid.transform, rtol=0, atol=1e-9)
        assert (raster.read(1) == values_of(case.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert sum(entry["area_m2"] for entry in said["classes"]) == pytest.approx(60 * 50 * 11 * 47)


def test_scenes_across_the_antimeridian_are_mapped(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(60, 80, crs="EPSG:4326", corner=(179.6, -16), pixel=(0.01, 0.01), each=0)
    points = [(row, column, name) for row, column, name in draw_points(case.truth, 8)]
    assert {column > 40 for _, column, _ in points} == {True, False}
    # Labels name longitudes beyond 180 degrees as they are: -179.9 is 180.1.
    import geopandas
    import shapely

    rows, columns = (np.array([point[axis] for point in points]) + 0.5 for axis in (0, 1))
    x, y = case.grid.to_map(rows, columns)
    shapes = shapely.points(np.where(x > 180, x - 360, x), y)
    geopandas.GeoDataFrame({"class": [p[2] for p in points]}, geometry=shapes, crs=4326).to_file(case.labels)
    run(case.request(output(tmp_path)))
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["labels"]["outside"] == 0
    expected = 60 * 80 * 0.01**2 * 110_662 * 106_873  # metres of a degree of latitude and of longitude at 16.3 south
    assert sum(entry["area_m2"] for entry in said["classes"]) == pytest.approx(expected, rel=1e-3)


def test_not_a_number_is_no_data(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(60, 50)
    pixels = case.pixels.astype(np.float32)
    pixels[10:20, 10:30, 0] = np.nan
    pixels[40, 3, 1] = np.inf
    write_scene(case.scene, pixels, case.grid, nodata=None)
    run(case.request(output(tmp_path)))
    empty = ~np.isfinite(pixels).all(axis=-1)
    assert np.array_equal(read(output(tmp_path)) == 0, empty)


def test_a_scene_without_a_crs(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, bare = make_case(name="may"), make_case(name="bare", crs=None)
    with pytest.raises(RasterError, match="names no CRS.*rio edit-info"):
        run(bare.request(output(tmp_path), labels=LabelPlan(case.labels)))
    run(case.request(tmp_path / "first.tif", save_adapted=tmp_path / "mine.npz"))
    report = run(bare.request(output(tmp_path), adapted=tmp_path / "mine.npz"))
    assert any("names no CRS, so neither does the map" in note for note in report.notes)
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.crs is None


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_labels_without_a_crs_map_a_scene_without_one(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, bare = make_case(name="may"), make_case(name="bare", crs=None)
    write_points(bare.labels, bare.grid, draw_points(bare.truth, 8))
    run(case.request(tmp_path / "may" / "map.tif"))
    run(bare.request(output(tmp_path), applicable=True, suggest=3))
    assert np.array_equal(read(output(tmp_path)), read(tmp_path / "may" / "map.tif"))
    assert output(tmp_path).with_name("map_label_next.gpkg").exists()


def test_a_scene_without_data(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(name="may")
    empty = write_scene(tmp_path / "empty.tif", np.zeros_like(case.pixels), case.grid)
    with pytest.raises(RasterError, match=r"no label of .* is left that counts\. .* 24 labelled pixels lie where"):
        run(case.request(output(tmp_path), scenes=(str(empty),)))
    run(case.request(tmp_path / "first.tif", save_adapted=tmp_path / "mine.npz"))
    with pytest.raises(RasterError, match="no pixel with data"):
        run(case.request(output(tmp_path), scenes=(str(empty),), adapted=tmp_path / "mine.npz"))
    assert made_files(tmp_path) <= {".map.tif.work"}


@pytest.mark.parametrize(
    ("worth", "changed", "message"),
    [
        (1e-4, {}, "They look like reflectance 0-1 already: say scale = 1"),
        (1.0, {"scale": 1.0}, "They look like reflectance x 10000"),
    ],
)
def test_values_in_another_unit_are_refused(
    make_case: Callable[..., Case], tmp_path: Path, worth: float, changed: dict[str, Any], message: str
) -> None:
    case = make_case()
    write_scene(case.scene, (case.pixels * worth).astype(np.float32), case.grid, nodata=None)
    with pytest.raises(RasterError, match=message):
        run(case.request(output(tmp_path), **changed))


def test_numbers_that_are_no_8_bit_pictures_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    bands = tuple(fakes.band(name, 1 / 255, 0.0, "brightness 0-1") for name in ("B4", "B8"))
    model = FakePredictor(replace(PIXEL, value_type="uint8", bands=bands))
    with pytest.raises(RasterError, match=r"has uint16 pixels without a scale; .* with --scale"):
        run(case.request(output(tmp_path)), model)
    assert run(case.request(output(tmp_path), scale=1e-4), model).files


@pytest.mark.parametrize(("stated", "scale"), [(None, 1.0), (1e-3, None)])
def test_the_scale_of_the_file_or_the_user_is_kept_to(
    make_case: Callable[..., Case], tmp_path: Path, stated: float | None, scale: float | None
) -> None:
    """Reflectance 0-1 given to a model that expects 0-10,000, with its scale said."""
    case = make_case()
    worth = 1e-4 / (stated or 1)
    pixels = (case.pixels * worth).astype(np.float32)
    write_scene(case.scene, pixels, case.grid, nodata=None, **({"scale": stated} if stated else {}))
    run(case.request(output(tmp_path), scale=scale))
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.99


def test_bands_are_found_by_name_number_or_not_at_all(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    swapped = np.concatenate([case.pixels[..., ::-1], case.pixels[..., :1]], axis=-1)
    write_scene(case.scene, swapped, case.grid, names=("B08", "B04", "B11"))
    run(case.request(output(tmp_path)))
    expected = read(output(tmp_path))
    assert (expected == values_of(case.truth)).mean() > 0.99
    write_scene(case.scene, swapped, case.grid, names=())
    for bands in ((2, 1), ("nir", "B4", "x")):
        if bands[0] == "nir":
            with pytest.raises(RasterError, match="B8 is not among them"):
                run(case.request(output(tmp_path), bands=bands))
            bands = ("B8", "B4", "x")
        run(case.request(output(tmp_path), bands=bands))
        assert np.array_equal(read(output(tmp_path)), expected)
    with pytest.raises(RasterError, match="has 3 bands without descriptions; expected 2"):
        run(case.request(output(tmp_path)))


def test_several_files_are_one_scene(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(90, 70, empty=np.s_[:20, :15])
    run(case.request(output(tmp_path)))
    expected = read(output(tmp_path))
    parts = []
    for number, here in enumerate((np.s_[:50, :40], np.s_[:50, 40:], np.s_[45:, :])):
        row, column = here[0].start or 0, here[1].start or 0
        height, width = case.pixels[here].shape[:2]
        corner = case.grid.to_map(row, column)
        grid = grid_of(height, width, corner=corner)
        parts.append(str(write_scene(tmp_path / f"part{number}.tif", case.pixels[here], grid)))
    run(case.request(output(tmp_path), scenes=tuple(parts)))
    assert np.array_equal(read(output(tmp_path)), expected)
    singles = []
    for layer, name in enumerate(("B4", "B8")):
        path = tmp_path / f"scene_{name}.tif"
        singles.append(str(write_scene(path, case.pixels[..., layer], case.grid, names=())))
    run(case.request(output(tmp_path), scenes=tuple(singles[::-1])))
    assert np.array_equal(read(output(tmp_path)), expected)


def test_any_name_that_gdal_opens_is_a_scene(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    run(case.request(output(tmp_path)))
    expected = read(output(tmp_path))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(case.scene, "deep/scene.tif")
    for source in (f"/vsizip/{tmp_path}/all.zip/deep/scene.tif", f"vrt://{case.scene}", f"GTIFF_DIR:1:{case.scene}"):
        run(case.request(output(tmp_path), scenes=(source,)))
        assert np.array_equal(read(output(tmp_path)), expected)
        said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["scene"]["files"]
        assert said[0]["file"] == source and said[0]["changed"] > 0
        with pytest.raises(FewshotError, match="there is no raster .*is missing"):
            run(
                case.request(output(tmp_path), scenes=(source.replace("all.zip", "no.zip").replace("scene.t", "no.t"),))
            )
    with pytest.raises(RecipeError, match=r"scene\.tif is an input of the map and would be overwritten"):
        case.request(case.scene, scenes=(f"vrt://{case.scene}?bands=1",))


def test_a_transductive_model_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="transductive"):
        run(case.request(output(tmp_path)), FakePredictor(replace(PIXEL, transductive=True)))


def test_values_are_sent_as_the_card_describes_them(make_case: Callable[..., Case]) -> None:
    """A model of 8-bit pictures is sent whole numbers 0-255; one of reflectance x 10^4 what the file holds."""
    case = make_case()
    sent, _ = open_scene([case.scene], PIXEL).read(open_window(case))
    np.testing.assert_allclose(sent, case.pixels, rtol=1e-5)
    bands = tuple(fakes.band(name, 1 / 255, 0.0, "brightness 0-1") for name in ("B4", "B8"))
    eight = (case.pixels // 20).astype(np.uint8)
    write_scene(case.scene, eight, case.grid)
    sent, valid = open_scene([case.scene], replace(PIXEL, bands=bands, value_type="uint8")).read(open_window(case))
    assert np.array_equal(sent, eight) and valid.all()


def open_window(case: Case) -> Any:
    from fewshot.geo.windows import Window

    return Window(0, 0, *case.truth.shape)


def test_every_problem_is_one_of_ours(case: Case, tmp_path: Path) -> None:
    with pytest.raises(FewshotError, match="no raster"):
        run(case.request(output(tmp_path), scenes=(str(tmp_path / "none.tif"),)))


def test_a_map_is_not_written_over_what_it_is_made_from(case: Case, tmp_path: Path) -> None:
    before = case.scene.read_bytes()
    for to in (case.scene, case.scene.parent / "." / case.scene.name):
        with pytest.raises(RecipeError, match=r"scene\.tif is an input of the map and would be overwritten"):
            case.request(to)
    with pytest.raises(RecipeError, match=r"scene\.json is an input"):
        case.request(case.scene, labels=LabelPlan(case.scene.with_suffix(".json")), scenes=("other.tif",))
    with pytest.raises(RecipeError, match="is a file of the map itself"):
        case.request(tmp_path / "map.tif", save_adapted=tmp_path / "map.json")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(RecipeError, match=r"folder\.tif is a folder"):
        case.request(tmp_path / "folder.tif")
    assert case.scene.read_bytes() == before


@pytest.mark.parametrize("scale", [0.0, -1e-4, float("nan"), float("inf")])
def test_scales_that_cannot_be_are_refused(case: Case, tmp_path: Path, scale: float) -> None:
    with pytest.raises(RecipeError, match="more than 0; received"):
        case.request(output(tmp_path), scale=scale)


def test_an_alpha_band_says_where_there_is_data_beside_any_number_of_bands(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case(60, 50)
    pixels = np.concatenate([case.pixels, case.pixels[..., :1], np.full((60, 50, 2), 255)], axis=-1).astype(np.uint16)
    pixels[:10, :, -1] = 0
    write_scene(case.scene, pixels, case.grid, names=("B4", "B8", "B2", "B3", ""), nodata=None)
    with rasterio.open(case.scene, "r+") as raster:
        raster.colorinterp = [*raster.colorinterp[:-1], rasterio.enums.ColorInterp.alpha]
    run(case.request(output(tmp_path)))
    assert np.array_equal(read(output(tmp_path)) == 0, pixels[..., -1] == 0)


def test_eight_bit_numbers_are_no_reflectance_x_10000(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    write_scene(case.scene, (case.pixels // 40).astype(np.uint8), case.grid, nodata=None)
    with pytest.raises(RasterError, match=r"has 8-bit numbers; .* no more than 0\.0255.*--scale 0\.00392"):
        run(case.request(output(tmp_path)))
