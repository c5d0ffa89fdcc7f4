"""Places drawn of a map, filled in, and what they say of it."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
from click.testing import CliRunner
from rasterio import Affine
from rasterio.crs import CRS

from cli import main
from fewshot.assessment import Design, Places, assess_maps, sample_map
from fewshot.errors import DataNotFoundError, RasterError, RecipeError
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import RasterReader
from fewshot.geo.writing import write_raster

GRID = Grid(1500, 1200, Affine(10, 0, 500_000, 0, -10, 5_000_000), CRS.from_epsg(32633))
TAGS = {"CLASS_1": "Forest", "CLASS_2": "Water", "CLASS_4": "Bare"}


def truth() -> np.ndarray:
    """Bare ground is rare, and the map takes a tenth of the forest for water."""
    rng = np.random.default_rng(0)
    classes = np.where(rng.random((GRID.height, GRID.width)) < 0.7, 1, 2).astype(np.uint8)
    classes[:40, :40] = 4
    return classes


def mapped(wrong: float = 0.1) -> np.ndarray:
    classes = truth()
    confused = (np.random.default_rng(1).random(classes.shape) < wrong) & (classes == 1)
    classes[confused] = 2
    classes[-10:] = 0
    return classes


@pytest.fixture(scope="module")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "map.tif"
    write_raster(path, mapped(), GRID, nodata=0, tags=TAGS, colours={1: (0, 90, 0), 2: (0, 0, 200)})
    return path


def fill_in(path: Path, *, skip: int = 0) -> None:
    """Say what is at each place, as a person would; the last ones are not looked at."""
    frame = geopandas.read_file(path, layer="points")
    rows, columns = GRID.to_pixels(frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    names = {1: "Forest", 2: "Water", 4: "Bare"}
    found = [names[value] for value in truth()[rows.astype(int), columns.astype(int)].tolist()]
    frame["class"] = [*found[: len(found) - skip], *[None] * skip]
    pyogrio.write_dataframe(frame, path, layer="points", driver="GPKG")


def test_places_are_pixels_of_their_stratum_drawn_once(map_path: Path, tmp_path: Path) -> None:
    drawn = sample_map(map_path, tmp_path / "points.gpkg", Design(200, least=30), seed=3)
    assert drawn.places.sum() == 200 and drawn.places[2] == 30
    frame = geopandas.read_file(drawn.path, layer="points")
    assert frame.crs == GRID.crs.to_wkt() and frame["class"].isna().all() and len(frame) == 200
    rows, columns = GRID.to_pixels(frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    np.testing.assert_allclose(rows % 1, 0.5)
    assert mapped()[rows.astype(int), columns.astype(int)].tolist() == frame["stratum"].tolist()
    assert len(set(zip(rows, columns, strict=True))) == 200
    # In any order: the strata are mixed, so that whoever stops early has seen them all.
    assert set(frame["stratum"][:60]) == {1, 2, 4}
    strata = pyogrio.read_dataframe(drawn.path, layer="strata", read_geometry=False)
    assert strata["pixels"].tolist() == np.bincount(mapped().ravel())[[1, 2, 4]].tolist()
    assert strata["area_m2"].tolist() == [100 * count for count in strata["pixels"]]
    assert 'value="Forest"' in (tmp_path / "points.qml").read_text()


def test_the_same_seed_draws_the_same_places_and_every_pixel_may_be_drawn(map_path: Path, tmp_path: Path) -> None:
    def places(seed: int) -> list[tuple[float, float]]:
        sample_map(map_path, tmp_path / "points.gpkg", Design(60), seed=seed)
        shapes = geopandas.read_file(tmp_path / "points.gpkg", layer="points").geometry
        return list(zip(shapes.x, shapes.y, strict=True))

    assert places(0) == places(0) != places(1)
    everything = sample_map(map_path, tmp_path / "all.gpkg", Design(by_hand={"Bare": 1600}))
    assert everything.places.tolist() == [0, 0, 1600]


def test_a_sample_finds_the_true_areas(map_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "points.gpkg"
    sample_map(map_path, path, Design(400, least=50))
    fill_in(path, skip=10)
    report = assess_maps([map_path], Places(path))
    assert report.places == 390 and any("10 places have no class yet" in note for note in report.notes)
    accuracy = report.maps[0].accuracy
    known = mapped() > 0
    right = float((truth() == mapped())[known].mean())
    assert abs((accuracy.adjusted.value or 0) - right) <= (accuracy.adjusted.ci95 or 0)
    for entry, value in zip(accuracy.classes, (1, 2, 4), strict=True):
        there = 100 * float((truth() == value)[known].sum())
        assert abs((entry.area.value or 0) - there) <= (entry.area.ci95 or 0) + 1e-6
        assert entry.mapped_area == 100 * (mapped() == value).sum()
    assert not any("does not say how its places were drawn" in note for note in report.notes)


def test_a_map_without_a_crs_is_sampled_and_assessed_in_pixels(tmp_path: Path) -> None:
    path, points = tmp_path / "plane.tif", tmp_path / "points.gpkg"
    plane = Grid(GRID.height, GRID.width, GRID.transform, None)
    write_raster(path, mapped(), plane, nodata=0, tags=TAGS)
    drawn = sample_map(path, points, Design(200, least=30), seed=3)
    assert geopandas.read_file(points, layer="points").crs is None and drawn.places.sum() == 200
    assert "area_m2" not in pyogrio.read_dataframe(points, layer="strata", read_geometry=False)
    fill_in(points)
    result = CliRunner().invoke(main, ["assess", str(path), str(points), "--to", str(tmp_path / "said.json")])
    assert result.exit_code == 0, result.output
    assert "% and pixels with 95 % intervals" in result.output and "hectares" not in result.output
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["areas_in"] == "pixels"
    assert [entry["mapped_area"] for entry in said["maps"][0]["classes"]] == np.bincount(mapped().ravel())[
        [1, 2, 4]
    ].tolist()


def test_a_map_without_a_crs_is_not_held_against_one_with(map_path: Path, tmp_path: Path) -> None:
    plane = tmp_path / "plane.tif"
    write_raster(plane, mapped(), Grid(GRID.height, GRID.width, GRID.transform, None), nodata=0, tags=TAGS)
    sample_map(map_path, tmp_path / "points.gpkg", Design(60))
    with pytest.raises(RasterError, match=r"plane.tif names no CRS and the other maps do"):
        assess_maps([map_path, plane], Places(tmp_path / "points.gpkg"))


def test_a_better_map_is_told_from_a_worse_one_on_another_grid(map_path: Path, tmp_path: Path) -> None:
    points, worse = tmp_path / "points.gpkg", tmp_path / "worse.tif"
    sample_map(map_path, points, Design(300))
    fill_in(points)
    # Half the resolution and shifted: places are found by where they lie.
    grid = Grid(760, 610, Affine(20, 0, 499_900, 0, -20, 5_000_100), GRID.crs)
    write_raster(worse, np.ones((760, 610), np.uint8), grid, nodata=0, tags=TAGS)
    report = assess_maps([map_path, worse], Places(points))
    found = report.differences[0]
    assert (found.difference.value or 0) - (found.difference.ci95 or 0) > 0
    assert found.only_first > found.only_second and found.p_value < 0.01
    assert found.difference.value == pytest.approx(
        (report.maps[0].accuracy.adjusted.value or 0) - (report.maps[1].accuracy.adjusted.value or 0)
    )


def test_labels_at_hand_are_told_from_a_sample(map_path: Path, tmp_path: Path) -> None:
    rows, columns = np.meshgrid(np.arange(45, 1400, 90), np.arange(5, 1100, 90), indexing="ij")
    x, y = GRID.to_map(rows.ravel() + 0.5, columns.ravel() + 0.5)
    names = np.where(truth()[rows.ravel(), columns.ravel()] == 1, "Forest", "Swamp")
    frame = geopandas.GeoDataFrame(
        {"class": names, "visit": rows.ravel() // 90}, geometry=geopandas.points_from_xy(x, y), crs=GRID.crs.to_wkt()
    )
    frame.to_crs(4326).to_file(tmp_path / "field.geojson")
    report = assess_maps([map_path], Places(tmp_path / "field.geojson", clusters="visit"))
    assert any("does not say how its places were drawn" in note for note in report.notes)
    assert any("has no class Swamp" in note for note in report.notes)
    swamp = report.maps[0].accuracy.classes[-1]
    assert (swamp.name, swamp.mapped_area, swamp.producers.value) == ("Swamp", 0, 0)
    single = assess_maps([map_path], Places(tmp_path / "field.geojson"))
    assert single.maps[0].accuracy.adjusted.value == pytest.approx(report.maps[0].accuracy.adjusted.value)
    assert single.maps[0].accuracy.adjusted.ci95 != report.maps[0].accuracy.adjusted.ci95


def test_what_cannot_be_assessed_is_said(map_path: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.gpkg"
    sample_map(map_path, points, Design(60))
    with pytest.raises(RasterError, match="none with a geometry and a value"):
        assess_maps([map_path], Places(points))
    fill_in(points)
    with pytest.raises(RecipeError, match=r"expected 'plot' \(--clusters\)"):
        assess_maps([map_path], Places(points, clusters="plot"))
    with pytest.raises(RecipeError, match=r"expected a GeoPackage"):
        sample_map(map_path, tmp_path / "points.shp", Design(60))
    with pytest.raises(DataNotFoundError):
        sample_map(tmp_path / "none.tif", points, Design(60))
    frame = geopandas.read_file(points, layer="points")
    frame.geometry = frame.geometry.buffer(20)
    frame.to_file(tmp_path / "plots.gpkg")
    with pytest.raises(RasterError, match="60 of 60 features are lines or polygons"):
        assess_maps([map_path], Places(tmp_path / "plots.gpkg"))


def test_the_commands_do_the_same(map_path: Path, tmp_path: Path) -> None:
    points, to = tmp_path / "points.gpkg", tmp_path / "figures.json"
    arguments = ["--error", "0.03", "--minimum", "25", "--expect", "0.85", "--expect", "Bare=0.6", "--to", str(points)]
    drawn = CliRunner().invoke(main, ["sample", str(map_path), *arguments])
    assert drawn.exit_code == 0, drawn.output
    assert "Bare" in drawn.output and "60 %" in drawn.output and "85 %" in drawn.output
    fill_in(points)
    found = CliRunner().invoke(main, ["assess", str(map_path), str(points), "--to", str(to)])
    assert found.exit_code == 0, found.output
    assert "overall accuracy" in found.output
    figures = json.loads(to.read_text())
    assert figures["maps"][0]["classes"][0]["name"] == "Forest"
    assert np.sum(figures["maps"][0]["confusion"]["shares_of_area"]) == pytest.approx(1)
    assert RasterReader().read(to.with_suffix(".png"))[0].shape[0] > 200
    for wrong in (["--n", "5", "--allocate", "Bare"], ["--n", "5", "--error", "0.1"], ["--expect", "x=y", "--n", "9"]):
        refused = CliRunner().invoke(main, ["sample", str(map_path), *wrong, "--to", str(points)])
        assert refused.exit_code != 0 and "expected" in refused.output
