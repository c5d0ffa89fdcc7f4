"""From which class to which, between two maps."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS

from cli import main
from fewshot.assessment import ChangeRequest, Design, map_changes, sample_map
from fewshot.assessment.drawing import draw_changes
from fewshot.errors import RasterError, RecipeError
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.writing import write_raster

GRID = Grid(1100, 90, Affine(10, 0, 500_000, 0, -10, 5_000_000), CRS.from_epsg(32633))


def write_map(path: Path, classes: np.ndarray, names: dict[int, str], grid: Grid = GRID) -> Path:
    tags = {f"CLASS_{number}": name for number, name in names.items()}
    write_raster(path, classes.astype(np.uint8), grid, nodata=0, tags=tags, colours={1: (0, 90, 0), 2: (0, 0, 200)})
    return path


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    """A forest of which a square of 30 pixels was cleared, and a lake; the later map numbers its classes otherwise."""
    old = np.ones((GRID.height, GRID.width))
    old[:, 60:] = 2
    old[-1] = 0
    new = np.where(old == 2, 1, 2)
    new[1000:1030, 10:40] = 5
    new[:, 0] = 0
    return (
        write_map(tmp_path / "old.tif", old, {1: "Forest", 2: "Water"}),
        write_map(tmp_path / "new.tif", new, {2: "Forest", 1: "Water", 5: "Bare"}),
    )


def test_what_became_what(maps: tuple[Path, Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = map_changes(ChangeRequest(*maps, tmp_path / "change.tif"), lambda done, of: seen.append((done, of)))
    assert (report.old, report.new) == (("Forest", "Water"), ("Water", "Forest", "Bare"))
    pixels = np.array([[0, 1099 * 59 - 900, 900], [1099 * 30, 0, 0]])
    np.testing.assert_allclose(report.hectares, pixels / 100)
    assert seen[-1] == (4, 4) and report.unsure == 0
    info = describe_raster(tmp_path / "change.tif")
    assert info.grid.same_as(GRID)
    assert set(info.class_names.values()) == {"Forest", "Forest to Bare", "Water"}
    codes = RasterReader().read(tmp_path / "change.tif")[0][..., 0]
    cleared = next(number for number, name in info.class_names.items() if name == "Forest to Bare")
    assert (codes == cleared).sum() == 900 and (codes[1000:1030, 10:40] == cleared).all()
    assert (codes[-1] == 0).all() and (codes[:, 0] == 0).all()
    assert json.loads((tmp_path / "change.json").read_text())["hectares"]["areas"] == report.hectares.tolist()
    # It is a map like any other.
    drawn = sample_map(tmp_path / "change.tif", tmp_path / "points.gpkg", Design(90, least=20))
    assert dict(zip(drawn.names, drawn.places.tolist(), strict=True))["Forest to Bare"] == 20


def test_the_picture_has_the_proportions_of_the_ground(tmp_path: Path) -> None:
    oblong = Grid(40, 40, Affine(10, 0, 500_000, 0, -25, 5_000_000), CRS.from_epsg(32633))
    old = write_map(tmp_path / "old.tif", np.ones((40, 40)), {1: "Forest"}, oblong)
    new = write_map(tmp_path / "new.tif", np.ones((40, 40)), {1: "Forest"}, oblong)
    report = map_changes(ChangeRequest(old, new, tmp_path / "change.tif"))
    assert report.aspect == pytest.approx(2.5)
    draw_changes(report, tmp_path / "change.png", "Change")
    shown = np.asarray(Image.open(tmp_path / "change.png").convert("RGB"))
    rows, columns = np.nonzero((shown == np.array(report.colours[1])).all(axis=-1))
    assert np.ptp(rows) / np.ptp(columns[rows > np.median(rows)]) == pytest.approx(2.5, rel=0.05)


def test_where_a_map_is_not_sure_nothing_is_compared(maps: tuple[Path, Path], tmp_path: Path) -> None:
    levels = np.full((GRID.height, GRID.width), 0.9, np.float32)
    write_raster(tmp_path / "old_confidence.tif", levels, GRID, nodata=float("nan"))
    with pytest.raises(RecipeError, match=r"there is no .*new_confidence.tif beside the map"):
        map_changes(ChangeRequest(*maps, tmp_path / "change.tif", confidence=0.8))
    levels[1000:1015, 10:40] = 0.5
    write_raster(tmp_path / "new_confidence.tif", levels, GRID, nodata=float("nan"))
    report = map_changes(ChangeRequest(*maps, tmp_path / "change.tif", confidence=0.8))
    assert report.hectares[0, 2] == pytest.approx(4.5) and report.unsure == pytest.approx(4.5)
    assert "unsure" in describe_raster(tmp_path / "change.tif").class_names.values()
    assert any("4.5 hectares more are not compared" in line for line in report.lines())


def test_where_a_map_does_not_hold_nothing_is_compared(maps: tuple[Path, Path], tmp_path: Path) -> None:
    inside = np.ones((GRID.height, GRID.width), np.uint8)
    write_raster(tmp_path / "new_applicable.tif", inside, GRID, nodata=255)
    with pytest.raises(RecipeError, match=r"there is no .*old_applicable.tif beside.*fewshot map --applicable"):
        map_changes(ChangeRequest(*maps, tmp_path / "change.tif", applicable=True))
    inside[1000:1010, 10:40] = 0
    inside[1010:1015, 10:40] = 255
    write_raster(tmp_path / "old_applicable.tif", inside, GRID, nodata=255)
    report = map_changes(ChangeRequest(*maps, tmp_path / "change.tif", applicable=True))
    assert report.hectares[0, 2] == pytest.approx(4.5) and report.unsure == pytest.approx(4.5)
    assert json.loads((tmp_path / "change.json").read_text())["applicable"] is True


def test_the_later_map_may_be_finer_and_elsewhere(maps: tuple[Path, Path], tmp_path: Path) -> None:
    fine = Grid(1000, 200, Affine(5, 0, 500_000, 0, -5, 5_000_000), GRID.crs)
    path = write_map(tmp_path / "fine.tif", np.ones((1000, 200)), {1: "Forest"}, fine)
    report = map_changes(ChangeRequest(maps[0], path, tmp_path / "change.tif"))
    assert report.hectares.tolist() == [[500 * 60 / 100], [500 * 30 / 100]]
    far = Grid(20, 20, Affine(10, 0, 700_000, 0, -10, 5_000_000), GRID.crs)
    path = write_map(tmp_path / "far.tif", np.ones((20, 20)), {1: "Forest"}, far)
    with pytest.raises(RasterError, match="no pixel of a class there"):
        map_changes(ChangeRequest(maps[0], path, tmp_path / "change.tif"))
    with pytest.raises(RecipeError, match=r"ends in \.tif"):
        map_changes(ChangeRequest(*maps, tmp_path / "change.png"))


def test_the_command_draws_it(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["change", *map(str, maps), "--to", str(tmp_path / "change.tif")])
    assert found.exit_code == 0, found.output
    assert "9.0 of 978.1 hectares are of another class" in found.output
    assert (tmp_path / "change.png").stat().st_size > 5000
    refused = CliRunner().invoke(main, ["change", *map(str, maps), "--to", str(tmp_path / "change.txt")])
    assert refused.exit_code == 1 and "expected a name that ends in .tif" in refused.output
