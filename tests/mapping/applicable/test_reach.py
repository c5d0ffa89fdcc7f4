"""Maps that say where they hold: rasters, shares, expected accuracy, the same to the bit however they are made."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fewshot.errors import ArtifactError, RasterError
from fewshot.exported.card import Card
from fewshot.mapping.predict.cluster import local_workers, run_on
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import FILES, Case, made_files, output, read, run
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, write_points

REACH_FILES = {"map_applicable.tif", "map_dissimilarity.tif"}


@pytest.fixture
def with_lava(make_case: Callable[..., Case]) -> Case:
    """A scene with a corner that is like no label."""
    case = make_case(96, 84, each=12, empty=np.s_[:10, :15])
    with rasterio.open(case.scene, "r+") as raster:
        pixels = raster.read()
        pixels[:, 60:, 60:] = 9000
        raster.write(pixels)
    points = [(r, c, n) for r, c, n in _labels(case) if r < 58 or c < 58]
    write_points(case.labels, case.grid, points)
    return case


def _labels(case: Case) -> list[tuple[int, int, str]]:
    import geopandas

    frame = geopandas.read_file(case.labels)
    rows, columns = case.grid.to_pixels(frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    return [(int(r), int(c), n) for r, c, n in zip(rows, columns, frame["class"], strict=True)]


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_what_is_unlike_every_label_is_outside(with_lava: Case, tmp_path: Path, card: Card) -> None:
    report = run(with_lava.request(output(tmp_path), applicable=True), FakePredictor(card))
    assert made_files(tmp_path) == FILES | REACH_FILES
    inside, unlike = (read(output(tmp_path).with_name(name)) for name in sorted(REACH_FILES))
    empty = read(output(tmp_path)) == 0
    assert np.array_equal(inside == 255, empty) and np.array_equal(np.isnan(unlike), empty)
    assert np.all(inside[70:, 70:] == 0)
    assert (inside[:56, :56][~empty[:56, :56]] == 1).mean() > (0.9 if card is PIXEL else 0.7)
    assert report.reach is not None and report.reach.share == pytest.approx((inside == 1).sum() / (~empty).sum())
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["applicability"]
    assert said["share"] == report.reach.share and said["labels"] == report.reach.labels
    assert np.array_equal(inside == 1, unlike <= round(said["threshold"] * 4096) / 4096)
    assert sum(entry["labels"] for entry in said["by_dissimilarity"]) <= said["labels"]
    assert said["expected_accuracy"] == report.reach.expected
    assert any("Applicable on" in line for line in report.lines())


def test_the_dissimilarity_is_that_of_the_bands(with_lava: Case, tmp_path: Path) -> None:
    """Of a model without features: its bands, standardised by the labels, weighted by what tells classes apart."""
    run(with_lava.request(output(tmp_path), applicable=True, save_adapted=tmp_path / "mine.npz"))
    with np.load(tmp_path / "mine.npz") as kept, rasterio.open(with_lava.scene) as scene:
        bands = np.moveaxis(scene.read(), 0, -1).astype(np.float64)
        points = (bands - kept["applicability_centre"]) * kept["applicability_factor"]
        distance = np.sqrt(((points[:, :, np.newaxis] - kept["applicability_points"]) ** 2).sum(axis=-1)).min(axis=2)
        expected = distance / kept["applicability_scale"][0]
    found = read(output(tmp_path).with_name("map_dissimilarity.tif"))
    np.testing.assert_allclose(found, np.where(np.isnan(found), np.nan, np.minimum(expected, 16)), atol=2 / 4096)


def same(one: Path, other: Path) -> bool:
    """Whether two maps are the same to the bit."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("map.tif", *REACH_FILES))


def test_resumed_it_is_the_same_to_the_bit(with_lava: Case, tmp_path: Path, small_groups: None) -> None:
    windows = WindowPlan(size=16, overlap=4)
    asked = with_lava.request(tmp_path / "whole" / "map.tif", applicable=True, suggest=4, windows=windows)
    run(asked)
    stopped = replace(asked, to=tmp_path / "resumed" / "map.tif")
    with pytest.raises(ArtifactError, match="server is gone.*--resume"):
        run(stopped, FakePredictor(fail_after=12))
    run(replace(stopped, resume=True))
    assert same(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.slow
def test_workers_give_the_same_bits(with_lava: Case, tmp_path: Path, small_groups: None) -> None:
    asked = with_lava.request(tmp_path / "here" / "map.tif", applicable=True, windows=WindowPlan(size=16, overlap=4))
    run(asked)
    model = FakePredictor()
    with local_workers(2) as client:
        run(replace(asked, to=tmp_path / "workers" / "map.tif"), model, engine=run_on(client, model))
    assert same(tmp_path / "here", tmp_path / "workers")


def test_asked_for_otherwise_it_is_not_resumed(with_lava: Case, tmp_path: Path, small_groups: None) -> None:
    request = with_lava.request(output(tmp_path), windows=WindowPlan(size=16, overlap=4))
    with pytest.raises(ArtifactError, match="server is gone"):
        run(request, FakePredictor(fail_after=12))
    with pytest.raises(ArtifactError, match="without --applicable"):
        run(replace(request, resume=True, applicable=True))


def test_the_next_scene_says_where_it_holds(with_lava: Case, make_case: Callable[..., Case], tmp_path: Path) -> None:
    kept = tmp_path / "mine.npz"
    first = run(with_lava.request(tmp_path / "may.tif", applicable=True, save_adapted=kept))
    other = make_case(60, 60, name="june", each=0)
    report = run(other.request(output(tmp_path), adapted=kept, applicable=True))
    assert report.reach is not None and first.reach is not None
    assert report.reach.threshold == first.reach.threshold and report.reach.share > 0.9
    plain = run(other.request(tmp_path / "plain.tif", adapted=kept))
    assert plain.reach is None and not (tmp_path / "plain_applicable.tif").exists()
    assert (tmp_path / "plain.tif").read_bytes() == output(tmp_path).read_bytes()
    run(with_lava.request(tmp_path / "may.tif", save_adapted=kept))
    with pytest.raises(ArtifactError, match=r"mine.npz was adapted without --applicable"):
        run(other.request(output(tmp_path), adapted=kept, applicable=True))


def test_labels_too_close_to_be_held_out_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(60, 60, each=0)
    points = [(row, column, name) for name, row in (("a", 4), ("b", 20)) for column in (3, 4, 5)]
    labels = write_points(tmp_path / "few.gpkg", case.grid, points)
    with pytest.raises(RasterError, match="cannot be told.*one square.*leave --applicable"):
        run(case.request(output(tmp_path), labels=LabelPlan(labels), applicable=True))
