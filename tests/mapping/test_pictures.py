"""From what a user downloads to the map: clouds left out, products and STAC items as scenes, several dates as one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from cli import main
from fewshot.errors import RecipeError
from fewshot.geo.composing import PicturePlan
from fewshot.geo.writing import write_raster
from fewshot.mapping.compare.choose import choose_method
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan
from tests.geo.published import CORNER, pack, write_landsat, write_safe
from tests.mapping.conftest import Case, output, read, run, values_of
from tests.mapping.fakes import CLASSES, SPECTRA, draw_points, draw_truth, grid_of, write_points, write_scene


@pytest.fixture
def cloudy(make_case: Callable[..., Case]) -> tuple[Case, np.ndarray]:
    """A case, and which of its pixels are clear: clouds lie over some labels, and are bright."""
    case = make_case(90, 70, each=20, nodata=None)
    clear = np.ones(case.truth.shape, np.bool_)
    clear[10:40, 20:50] = False
    pixels = case.pixels.copy()
    pixels[~clear] = 9000
    write_scene(case.scene, pixels, case.grid, nodata=None)
    codes = np.where(clear, 4, 9).astype(np.uint8)
    write_raster(case.scene.with_name("scene_SCL.tif"), codes, case.grid)
    return case, clear


@pytest.mark.parametrize("method", ["adapted", "logistic"])
def test_clouds_are_no_data_in_all_that_is_written(
    cloudy: tuple[Case, np.ndarray], tmp_path: Path, method: str
) -> None:
    case, clear = cloudy
    said: list[str] = []
    labels = LabelPlan(case.labels, holdout=0.3, apart=4)
    asked = case.request(
        output(tmp_path), labels=labels, pictures=PicturePlan(mask="SCL"), probabilities=True, method=method
    )
    if method == "logistic":
        choice = choose_method({}, asked)
        report = run(choice.request, choice.predictor, say=said.append)
    else:
        report = run(asked, say=said.append)
    found = read(output(tmp_path))
    assert np.array_equal(found == 0, ~clear)
    assert (found == values_of(case.truth))[clear].mean() > 0.98
    for name in ("map_confidence.tif", "map_probabilities.tif"):
        with rasterio.open(output(tmp_path).with_name(name)) as raster:
            assert np.array_equal(raster.read_masks(1) > 0, clear)
    told = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    masked = sum(not clear[row, column] for row, column, _ in draw_points(case.truth, 20))
    assert told["labels"]["on_nodata"] == masked > 0
    assert any(
        f"{masked} labelled pixels lie where the scene has no data, or is masked." in line for line in report.notes
    )
    (mask,) = told["scene"]["masks"]
    assert mask["file"].endswith("scene_SCL.tif") and mask["left_out"].startswith("values 0, 1, 3, 8, 9, 10 (")
    assert told["nodata"]["pixels"] == int((~clear).sum())
    assert "Mask scene_SCL: left out are values 0, 1, 3, 8, 9, 10" in said[0]


def test_any_raster_is_a_mask_and_an_interrupted_map_knows_it(cloudy: tuple[Case, np.ndarray], tmp_path: Path) -> None:
    case, _ = cloudy
    codes = (np.arange(6300).reshape(90, 70) % 7).astype(np.uint8)
    write_raster(tmp_path / "clouds.tif", codes, case.grid)
    plan = PicturePlan(mask=str(tmp_path / "clouds.tif"), mask_out="2,5-6")
    run(case.request(output(tmp_path), pictures=plan))
    assert np.array_equal(read(output(tmp_path)) == 0, np.isin(codes, [2, 5, 6]))
    with pytest.raises(RecipeError, match=r"clouds\.tif is an input of the map and would be overwritten"):
        case.request(tmp_path / "clouds.tif", pictures=plan)


def command(*words: Any) -> str:
    """Run a command line, and return what it says."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def truth() -> np.ndarray:
    return draw_truth(60, 72)


def labels_on(folder: Path, truth: np.ndarray, corner: tuple[float, float], side: float) -> Path:
    grid = grid_of(*truth.shape, corner=corner, pixel=(side, side))
    return write_points(folder / "labels.gpkg", grid, draw_points(truth, 12))


def levels(truth: np.ndarray, red: str, nir: str) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(3).normal(0, 0.005, truth.shape)
    return {red: SPECTRA[truth, 0] / 1e4 + noise, nir: SPECTRA[truth, 1] / 1e4 - noise}


def test_from_a_sentinel2_archive_to_the_map(truth: np.ndarray, tmp_path: Path) -> None:
    scl = np.where(np.arange(36) < 8, 3, 5).astype(np.uint8)[np.newaxis].repeat(30, 0)
    safe = write_safe(tmp_path / "downloads", levels(truth, "B04", "B08"), scl=scl)
    said = command(
        *("map", "--scene", pack(safe, ".zip"), "--labels", labels_on(tmp_path, truth, CORNER, 10)),
        *("--mask", "SCL", "--method", "logistic", "--to", output(tmp_path)),
    )
    found = read(output(tmp_path))
    assert np.array_equal(found == 0, np.arange(72)[np.newaxis].repeat(60, 0) < 16)
    assert (found == values_of(truth))[:, 16:].mean() > 0.98
    assert "Mask " in said and "snow stays" in said
    assert said.count("lie where the scene has no data, or is masked") == 1


def test_from_a_landsat_archive_to_the_map(truth: np.ndarray, tmp_path: Path) -> None:
    corner = (500085.0, 5600115.0)
    folder = write_landsat(tmp_path / "downloads", levels(truth, "B4", "B5"), corner=corner)
    command(
        *("map", "--scene", pack(folder, ".tar"), "--labels", labels_on(tmp_path, truth, corner, 30)),
        *("--mask", "QA_PIXEL", "--method", "logistic", "--to", output(tmp_path), "--assets", "B4, b5"),
    )
    assert (read(output(tmp_path)) == values_of(truth)).mean() > 0.98
    told = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert told["scene"]["bands"] == {"B4": 1, "B5": 2}


@pytest.mark.parametrize("how", ["median", "ndvi", "stack"])
def test_from_products_of_several_dates_to_the_map(truth: np.ndarray, tmp_path: Path, how: str) -> None:
    """Each date has its own clouds; together they show everything."""
    scenes: list[Any] = []
    for number, date in enumerate(("2024-06-01", "2024-06-11", "2024-06-21")):
        values = levels(truth, "B04", "B08")
        scl = np.full((30, 36), 5, np.uint8)
        scl[10 * number : 10 * number + 6] = 9
        for band in values.values():
            band[20 * number : 20 * number + 12] = 0.95
        scenes += ["--scene", write_safe(tmp_path / "downloads", values, date=date, scl=scl)]
    said = command(
        *("map", *scenes, "--labels", labels_on(tmp_path, truth, CORNER, 10), "--method", "logistic"),
        *("--mask", "SCL", "--assets", "B04,B08", "--composite", how, "--to", output(tmp_path)),
    )
    found = read(output(tmp_path))
    shown = found > 0
    clouded = np.zeros(60, np.bool_)
    for number in range(3):
        clouded[20 * number : 20 * number + 12] = True
    assert np.array_equal(shown.all(axis=1), ~clouded if how == "stack" else np.ones(60, np.bool_))
    assert (found == values_of(truth))[shown].mean() > 0.97
    if how != "stack":
        assert "Dates: 3, 2024-06-01 to 2024-06-21" in said


def test_from_stac_items_to_the_map(truth: np.ndarray, tmp_path: Path) -> None:
    features = []
    for number, date in enumerate(("2024-06-01", "2024-06-11")):
        scl = np.full((30, 36), 5, np.uint8)
        scl[:, 18 * number : 18 * number + 18] = 8
        safe = write_safe(tmp_path / date, levels(truth, "B04", "B08"), date=date, scl=scl)
        files = {
            path.name.split("_")[2]: path
            for path in safe.rglob("*.jp2")
            if "R20m" not in path.parts or "SCL" in path.name
        }
        assets = {
            name: {
                "href": str(files[name].relative_to(tmp_path)),
                "type": "image/jp2",
                "eo:bands": [{"name": name}],
                "raster:bands": [{"scale": 1e-4, "offset": -0.1}],
            }
            for name in ("B02", "B04", "B08", "SCL")
        }
        said = {"datetime": f"{date}T10:00:00Z", "platform": "sentinel-2a"}
        features.append({"type": "Feature", "stac_version": "1.0.0", "id": date, "properties": said, "assets": assets})
    items = tmp_path / "items.json"
    items.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    command(
        *("map", "--scene", items, "--labels", labels_on(tmp_path, truth, CORNER, 10), "--method", "logistic"),
        *("--assets", "B04,B08", "--mask", "SCL", "--to", output(tmp_path)),
    )
    assert (read(output(tmp_path)) == values_of(truth)).mean() > 0.98
    told = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["scene"]
    assert (told["composite"], told["dates"]) == ("median", ["2024-06-01", "2024-06-11"])


@pytest.mark.parametrize("method", ["logistic", "adapted"])
def test_dated_points_are_read_from_the_nearest_date(truth: np.ndarray, tmp_path: Path, method: str) -> None:
    """On the first date forest and town look like each other's; points of that date are right about it."""
    grid = grid_of(*truth.shape)
    swapped = np.array([0, 2, 1])[truth]
    for day, shown in (("2024-05-01", swapped), ("2024-06-01", truth), ("2024-07-01", truth)):
        write_scene(tmp_path / f"{day}.tif", SPECTRA[shown].astype(np.uint16), grid, nodata=None)
    points = draw_points(truth, 8)
    dates = ["2024-05-03" if number % 2 else "2024-06-20" for number in range(len(points))]
    labels = [
        (row, column, CLASSES[(swapped if date == "2024-05-03" else truth)[row, column]])
        for (row, column, _), date in zip(points, dates, strict=True)
    ]
    x, y = grid.to_map(*(np.array([point[axis] for point in labels]) + 0.5 for axis in (0, 1)))
    lines = [f"{a},{b},{name},{date}" for a, b, (_, _, name), date in zip(x, y, labels, dates, strict=True)]
    (tmp_path / "points.csv").write_text("\n".join(["x,y,class,date", *lines]))
    scenes = tuple(f"{day}={tmp_path}/{day}.tif" for day in ("2024-05-01", "2024-06-01", "2024-07-01"))
    plan = LabelPlan(tmp_path / "points.csv", radius=0)
    asked = MapRequest(scenes, output(tmp_path), plan, method=method, applicable=True)
    choice = choose_method({}, asked) if method == "logistic" else None
    report = run(choice.request, choice.predictor) if choice else run(asked)
    assert (read(output(tmp_path)) == values_of(truth)).mean() > 0.99
    told = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["applicability"]
    held_out = [(one["labels"], one["accuracy"]) for one in told["by_dissimilarity"]]
    assert sum(labels * accuracy for labels, accuracy in held_out) > 0.9 * sum(labels for labels, _ in held_out)
    assert any("24 labels have a date and are read from the nearest picture." in note for note in report.notes)
    assert any("x and y were taken as in the CRS of the scene" in note for note in report.notes)
