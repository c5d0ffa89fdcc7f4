"""Labels as they come: counted, reported, or refused with a reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import (
    DataNotFoundError,
    ManifestError,
    RasterError,
    RecipeError,
)
from fewshot.exported.card import Limits
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping import fakes
from tests.mapping.conftest import Case, made_files, output, run
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, draw_points, write_points, write_scene


def test_labels_that_do_not_count_are_counted(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(empty=np.s_[:20, :15])
    points: list[tuple[int, int, Any]] = [*draw_points(np.where(case.pixels.any(axis=-1), case.truth, -1), 6)]
    twice = points[0]
    points += [(5, 5, "town"), (500, 5, "town"), (twice[0], twice[1], "forest"), (60, 60, None), (70, 33, "lava")]
    labels = write_points(tmp_path / "labels.gpkg", case.grid, points, crs="EPSG:4326")
    report = run(case.request(output(tmp_path), labels=LabelPlan(labels)))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]
    assert (said["features"], said["outside"], said["unusable"], said["on_nodata"]) == (23, 1, 1, 1)
    assert said["contradicting"] == 1
    assert said["only_one_example_of"] == ["lava"]
    assert said["support"] == {"forest": 6, "lava": 1, "town": 6, "water": 5}
    notes = " ".join(report.notes)
    for word in ("1 of 23 features lie outside", "1 labelled pixels lie where", "different classes", "lava"):
        assert word in notes


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp"])
def test_polygons_label_what_they_hold(make_case: Callable[..., Case], tmp_path: Path, ending: str) -> None:
    import geopandas
    import shapely

    case = make_case(60, 60, each=0)
    squares = [(shapely.box(12 * j + 1, 12 * i + 1, 12 * j + 11, 12 * i + 11), i, j) for i in (1, 3) for j in range(5)]

    def to_map(columns_rows: np.ndarray) -> np.ndarray:
        return np.stack(case.grid.to_map(columns_rows[:, 1], columns_rows[:, 0]), axis=1)

    shapes = [shapely.transform(square, to_map) for square, _, _ in squares]
    names = [fakes.CLASSES[case.truth[12 * i + 6, 12 * j + 6]] for _, i, j in squares]
    labels = tmp_path / f"areas.{ending}"
    frame = geopandas.GeoDataFrame({"kind": names}, geometry=shapes, crs=case.grid.crs)
    (frame.to_crs(4326) if ending == "geojson" else frame).to_file(labels)
    request = case.request(output(tmp_path), labels=LabelPlan(labels, "kind"))
    for card, most in ((PIXEL, 200), (PATCH, 60)):
        run(request, FakePredictor(card))
        said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]
        assert 10 < sum(said["support"].values()) <= most and said["features"] == 10
    with pytest.raises(RecipeError, match="has the fields kind; expected 'colour'"):
        run(case.request(output(tmp_path), labels=LabelPlan(labels, "colour")))


def test_labels_of_which_nothing_is_left_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(empty=np.s_[:20, :15])
    away = write_points(tmp_path / "away.gpkg", case.grid, [(900, 5, "town"), (5, 900, "water")])
    with pytest.raises(RasterError, match="none of the 2 features .* lies in"):
        run(case.request(output(tmp_path), labels=LabelPlan(away)))
    one = write_points(tmp_path / "one.gpkg", case.grid, [(40, 5, "town"), (50, 30, "town")])
    with pytest.raises(RasterError, match="shows one class alone, town"):
        run(case.request(output(tmp_path), labels=LabelPlan(one)))
    bare = tmp_path / "bare.gpkg"
    import geopandas
    import shapely

    geopandas.GeoDataFrame({"class": ["a"]}, geometry=[shapely.Point(5, 5)]).to_file(bare)
    with pytest.raises(RasterError, match="names no CRS.*ogr2ogr"):
        run(case.request(output(tmp_path), labels=LabelPlan(bare)))
    with pytest.raises(DataNotFoundError):
        run(case.request(output(tmp_path), labels=LabelPlan(tmp_path / "none.gpkg")))
    assert not (tmp_path / "out").exists() or made_files(tmp_path) <= {".map.tif.work"}


def test_labels_that_cannot_be_kept_back_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(each=1)
    with pytest.raises(RasterError, match="can be kept back for validation.*--validation"):
        run(case.request(output(tmp_path), labels=LabelPlan(case.labels, holdout=0.3)))
    with pytest.raises(RecipeError, match="--holdout"):
        LabelPlan(case.labels, holdout=1.5)


def test_a_model_takes_so_many_examples(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(each=30)
    card = replace(PATCH, limits=Limits(examples=20, classes=3))
    report = run(case.request(output(tmp_path)), FakePredictor(card))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]["support"]
    assert said == {"forest": 6, "town": 6, "water": 6}
    assert any("18 of 90 labelled pixels are shown" in note for note in report.notes)
    with pytest.raises(RasterError, match="shows 3 classes; the model takes 2"):
        run(case.request(output(tmp_path)), FakePredictor(replace(card, limits=Limits(examples=20, classes=2))))


def test_a_validation_raster_that_the_classes_cannot_read_is_refused_before_anything_is_mapped(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case()
    truth = write_scene(tmp_path / "truth.tif", (case.truth + 1).astype(np.uint8), case.grid, names=(), nodata=0)
    request = case.request(output(tmp_path), labels=LabelPlan(case.labels, validation=truth))
    model = FakePredictor()
    with pytest.raises(ManifestError, match=r"has no ids, so the numbers of .*truth\.tif, rows 0-89, .*class table of"):
        run(request, model)
    table = tmp_path / "classes.csv"
    rows = [f"{number},{name}" for number, name in enumerate(fakes.CLASSES, start=1)]
    table.write_text("\n".join(["id,name", *rows[:2]]), encoding="utf-8")
    with pytest.raises(ManifestError):
        run(replace(request, classes=table), model)
    assert not model.calls
    table.write_text("\n".join(["id,name", *rows]), encoding="utf-8")
    report = run(replace(request, classes=table), model)
    assert report.accuracy is not None and report.accuracy.overall > 0.99


def test_classes_that_are_blank_are_counted_and_numbers_are_in_their_order(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    import geopandas

    case = make_case()
    frame = geopandas.read_file(case.labels)
    frame["class"] = frame["class"].map(dict(zip(fakes.CLASSES, ("10", "9", "2"), strict=True)))
    frame.loc[0, "class"] = "  "
    frame.to_file(tmp_path / "blank.gpkg")
    report = run(case.request(output(tmp_path), labels=LabelPlan(tmp_path / "blank.gpkg")))
    assert any("1 " in note and "no class" in note for note in report.notes)
    numbers = frame.iloc[1:].astype({"class": int})
    numbers.to_file(tmp_path / "numbers.gpkg")
    report = run(case.request(output(tmp_path), labels=LabelPlan(tmp_path / "numbers.gpkg")))
    assert report.table.names == ("2", "9", "10")
    frame.assign(**{"class": ""}).to_file(tmp_path / "none.gpkg")
    with pytest.raises(RasterError, match="no label with a class"):
        run(case.request(output(tmp_path), labels=LabelPlan(tmp_path / "none.gpkg")))


def test_a_map_without_labels_of_its_own_is_validated_with_others(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case()
    run(case.request(tmp_path / "first.tif", save_adapted=tmp_path / "mine.npz"))
    check = LabelPlan(case.labels, validation=case.labels)
    report = run(case.request(output(tmp_path), adapted=tmp_path / "mine.npz", check=check))
    assert report.accuracy is not None
    assert (report.accuracy.overall, int(np.sum(report.accuracy.confusion))) == (1.0, 24)
    for changed in ({"classes": case.labels}, {"steps": 3}):
        with pytest.raises(RecipeError, match="--classes and --steps go with --labels"):
            case.request(output(tmp_path), adapted=tmp_path / "mine.npz", **changed)
