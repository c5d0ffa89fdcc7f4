"""What a map is: its pixels, files, picture, report and accuracy."""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image

from fewshot.errors import (
    ArtifactError,
    ManifestError,
)
from fewshot.exported.card import AdaptedLayout, ClassEntry
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping import fakes
from tests.mapping.conftest import FILES, Case, made_files, output, read, run, values_of
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, draw_points, write_points, write_scene


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_a_few_points_become_a_map(case: Case, tmp_path: Path, card: Any) -> None:
    seen: list[tuple[int, int]] = []
    report = run(
        case.request(output(tmp_path)), FakePredictor(card), progress=lambda done, total: seen.append((done, total))
    )
    assert made_files(tmp_path) == FILES
    assert {path.name for path in report.files} == FILES and report.files[-1] == output(tmp_path)
    assert report.table.names == tuple(sorted(fakes.CLASSES))
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.support_loss == (2.0, 0.5)
    assert seen[0] == (0, seen[-1][1]) and seen[-1][0] == seen[-1][1]
    has_data = case.pixels.any(axis=-1)
    found = read(output(tmp_path))
    right = (found == values_of(case.truth))[has_data].mean()
    assert right > (0.99 if card is PIXEL else 0.65)
    assert np.all(found[~has_data] == 0)


def test_the_map_is_a_cloud_optimized_geotiff_on_the_scenes_grid(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case(700, 530, pixel=(23.6, 29.5), degrees=20, empty=np.s_[:100, :90])
    report = run(case.request(output(tmp_path), probabilities=True))
    for path in report.files:
        if path.suffix == ".tif":
            with rasterio.open(path) as raster, rasterio.open(case.scene) as scene:
                assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert raster.profile["tiled"] and raster.overviews(1) == [2]
                assert raster.transform == scene.transform and raster.crs == scene.crs
                assert raster.shape == scene.shape and raster.bounds == scene.bounds
                assert "every pixel" in raster.tags()["RESOLUTION"]
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.dtypes == ("uint8",) and raster.nodata == 0
        assert np.array_equal(raster.read_masks(1) > 0, case.pixels.any(axis=-1))
        assert raster.colormap(1)[2][:3] == report.table.classes[1].colour
        assert raster.tags()["CLASS_2"] == "town"
        # Overviews show classes that are there, not means of their numbers.
        small = raster.read(1, out_shape=(350, 265))
        assert set(np.unique(small)) <= {0, 1, 2, 3}
    with rasterio.open(output(tmp_path).with_name("map_confidence.tif")) as raster:
        sure = raster.read(1)
        assert np.array_equal(np.isnan(sure), ~case.pixels.any(axis=-1))
        assert np.nanmin(sure) > 1 / 3 and np.nanmax(sure) <= 1
    with rasterio.open(output(tmp_path).with_name("map_probabilities.tif")) as raster:
        assert raster.descriptions == ("forest", "town", "water")
        every = raster.read()
    assert np.nanmax(np.abs(every.max(axis=0) - sure)) < 1.01e-4
    assert np.array_equal(every.argmax(axis=0)[~np.isnan(sure)] + 1, read(output(tmp_path))[~np.isnan(sure)])


def test_other_programs_know_names_and_colours(case: Case, tmp_path: Path) -> None:
    report = run(case.request(output(tmp_path)))
    rasterio.shutil.copy(output(tmp_path), tmp_path / "copy.vrt", driver="VRT")  # GDAL writes down what it knows
    names = [entry.text for entry in ElementTree.parse(tmp_path / "copy.vrt").iter("Category")]
    assert [name or "" for name in names] == ["", "forest", "town", "water"]
    style = ElementTree.parse(output(tmp_path).with_suffix(".qml")).getroot()
    renderer = style.find("pipe/rasterrenderer")
    assert renderer is not None and renderer.get("type") == "paletted"
    entries = [(e.get("value"), e.get("label"), e.get("color")) for e in renderer.iter("paletteEntry")]
    colours = [f"#{bytes(entry.colour or ()).hex()}" for entry in report.table.classes]
    assert entries == list(zip("123", ("forest", "town", "water"), colours, strict=True))


def test_the_picture_shows_the_map_in_its_colours(case: Case, tmp_path: Path) -> None:
    report = run(case.request(output(tmp_path)))
    with Image.open(output(tmp_path).with_suffix(".png")) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for entry in report.table.classes:
        share = (pixels == np.array(entry.colour)).all(axis=1).mean()
        assert share > 0.02, entry.name


def test_the_report_says_what_was_run(case: Case, tmp_path: Path) -> None:
    run(case.request(output(tmp_path)))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["scene"]["files"][0]["file"] == str(case.scene)
    assert said["scene"]["bands"] == {"B4": 1, "B8": 2}
    assert said["labels"]["support"] == {"forest": 8, "town": 8, "water": 8}
    assert said["support_loss"] == {"before": 2.0, "after": 0.5}
    assert said["model"]["title"] == "nearest mean"
    assert said["versions"]["fewshot"] and said["seconds"] > 0
    assert said["accuracy"] is None
    pixels = {entry["name"]: entry["pixels"] for entry in said["classes"]}
    values, counts = np.unique(read(output(tmp_path)), return_counts=True)
    assert list(pixels.values()) == counts[values > 0].tolist()
    areas = {entry["name"]: entry["area_m2"] for entry in said["classes"]}
    assert areas == pytest.approx({name: 600 * count for name, count in pixels.items()})
    assert said["nodata"]["pixels"] == counts[0]


def test_shares_are_those_of_the_ground(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(crs="EPSG:4326", corner=(10, 75), pixel=(0.5, 0.5))  # as far as 30 degrees north
    report = run(case.request(output(tmp_path), applicable=True))
    areas = case.grid.pixel_areas(0, 90)
    assert areas[-1] > 3 * areas[0]
    values = np.unique(found := read(output(tmp_path)))
    expected = [(found == value).sum(axis=1) @ areas / (areas.sum() * 70) for value in values]
    assert list(report.shares.values()) == pytest.approx(expected)
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert [entry["share"] for entry in said["classes"]] == pytest.approx(expected)
    inside = read(output(tmp_path).with_name("map_applicable.tif")) == 1
    assert report.reach is not None and 0 < report.reach.share < 1
    assert report.reach.share == pytest.approx(inside.sum(axis=1) @ areas / (areas.sum() * 70))
    unlike = read(output(tmp_path).with_name("map_dissimilarity.tif"))
    nearest, share = report.reach.bins[0]
    near = unlike <= round(nearest.upto * 4096) / 4096
    assert share == pytest.approx(near.sum(axis=1) @ areas / (areas.sum() * 70))


def test_patch_models_say_how_fine_their_map_is(case: Case, tmp_path: Path) -> None:
    run(case.request(output(tmp_path), windows=WindowPlan(stride=4)), FakePredictor(PATCH))
    with rasterio.open(output(tmp_path)) as raster:
        said = raster.tags()["RESOLUTION"]
    assert said == "one answer every 4 pixels (120 x 80 m), each from a patch of 8 pixels (240 x 160 m)"


def test_labels_kept_back_say_how_good_the_map_is(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=30)
    report = run(case.request(output(tmp_path), labels=LabelPlan(case.labels, holdout=0.3, apart=6)))
    assert report.accuracy is not None
    assert report.accuracy.overall > 0.95
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    kept, used = said["labels"]["kept_back"], said["labels"]["support"]
    samples = sum(kept["examples"].values())
    assert samples == said["accuracy"]["samples"] and 10 <= samples <= 40
    assert sum(used.values()) + samples + kept["too_near"] == 90
    assert kept["apart_pixels"] == 6
    areas = [entry["estimated_area"]["value"] for entry in said["accuracy"]["classes"]]
    assert sum(areas) == pytest.approx(200 * 160 * 600)


def test_other_labels_say_how_good_the_map_is(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(120, 100)
    truth = write_scene(tmp_path / "truth.tif", values_of(case.truth), case.grid, names=(), nodata=None)
    table = tmp_path / "classes.csv"
    table.write_text("id,name\n1,forest\n2,town\n3,water\n", encoding="utf-8")
    plan = LabelPlan(case.labels, validation=truth)
    report = run(case.request(output(tmp_path), labels=plan, classes=table))
    assert report.accuracy is not None
    near = 24 * 9  # each support point labels its neighbours too
    assert sum(map(sum, report.accuracy.confusion)) in range(120 * 100 - near, 120 * 100 - near + 60)
    exact = (read(output(tmp_path)) == values_of(case.truth)).mean()
    assert report.accuracy.overall == pytest.approx(exact, abs=0.01)
    points = write_points(tmp_path / "more.gpkg", case.grid, draw_points(case.truth, 10, seed=5))
    report = run(case.request(output(tmp_path), labels=LabelPlan(case.labels, validation=points)))
    assert report.accuracy is not None and 20 < sum(map(sum, report.accuracy.confusion)) <= 30


def test_an_adapted_model_maps_the_next_scene_without_labels(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, other = make_case(name="may"), make_case(75, 110, name="june", each=0)
    model = FakePredictor()
    run(case.request(tmp_path / "first.tif", save_adapted=tmp_path / "kept" / "mine.npz"), model)
    report = run(other.request(output(tmp_path), adapted=tmp_path / "kept" / "mine.npz"))
    assert report.table.names == ("forest", "town", "water")
    assert (read(output(tmp_path)) == values_of(other.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["labels"] == {"adapted_before": str(tmp_path / "kept" / "mine.npz")}
    stranger = FakePredictor(replace(PIXEL, adapted=AdaptedLayout(1, 2, 78)))
    with pytest.raises(ArtifactError, match="another model"):
        run(other.request(output(tmp_path), adapted=tmp_path / "kept" / "mine.npz"), stranger)
    with pytest.raises(ArtifactError, match="not an adapted model"):
        run(other.request(output(tmp_path), adapted=case.scene))


def test_classes_of_the_model_are_kept(case: Case, tmp_path: Path) -> None:
    """With a global label space the map has the model's classes, numbers and colours."""
    classes = tuple(ClassEntry(name, f"#0000{i:02x}") for i, name in enumerate(("snow", "water", "forest", "town"), 1))
    card = replace(PIXEL, label_space="global", classes=classes)
    report = run(case.request(output(tmp_path)), FakePredictor(card))
    assert report.table.names == ("snow", "water", "forest", "town")
    assert report.shares["snow"] == 0
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.colormap(1)[4] == (0, 0, 4, 255)
        assert set(np.unique(raster.read(1))) == {0, 2, 3, 4}
    strange = replace(card, classes=classes[:3])
    with pytest.raises(ManifestError, match="town"):
        run(case.request(output(tmp_path)), FakePredictor(strange))


def test_numbers_of_a_label_raster_are_those_of_the_map(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    ids = np.array([7, 0, 41], np.uint8)[case.truth]
    sparse = np.where(np.random.default_rng(0).random(ids.shape) < 0.05, ids, 200).astype(np.uint8)
    labels = write_scene(tmp_path / "labels.tif", sparse, case.grid, names=(), nodata=200)
    report = run(case.request(output(tmp_path), labels=LabelPlan(labels)))
    assert report.table.names == ("0", "7", "41")
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.nodata == 255
        assert (raster.read(1) == ids).mean() > 0.99


@pytest.mark.skipif(os.name == "nt", reason="a backslash ends a folder there")
def test_a_backslash_is_part_of_a_name(case: Case, tmp_path: Path) -> None:
    """As of a path of another system, which GDAL would take apart."""
    to = tmp_path / "C:\\maps\\map.tif"
    run(case.request(to))
    assert (read(to) == values_of(case.truth))[case.pixels.any(axis=-1)].mean() > 0.9
