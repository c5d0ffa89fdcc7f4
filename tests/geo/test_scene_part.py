"""A part of a scene is what the scene is there, and reduced the mean of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.geo.bands import Band
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import describe_mosaic, read_reduced
from fewshot.geo.rasters import RasterReader
from fewshot.geo.remembering import RememberingScene
from fewshot.geo.scene import Scene
from fewshot.geo.scene_part import ScenePart
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
BANDS = (Band("B2", unit=""), Band("B1", unit=""))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 4000, (40, 60, 2)).astype(np.uint16)


@pytest.fixture
def scene(make_grid: Make, tmp_path: Path, pixels: np.ndarray) -> Scene:
    path = tmp_path / "scene.tif"
    write_raster(path, pixels, make_grid(40, 60), names=("B1", "B2"), nodata=0)
    return Scene.open([path], BANDS)


def test_a_part_is_what_the_scene_is_there(scene: Scene) -> None:
    part = ScenePart(scene, Window(10, 20, 8, 12))
    assert (part.size, part.covered) == ((8, 12), Window(10, 20, 8, 12))
    # What lies around the part is the scene's; only around the scene there is a mirror.
    for window in (Window(0, 0, 8, 12), Window(-3, -3, 14, 18), Window(-12, -22, 20, 20)):
        own, valid = part.read(window)
        wanted, wanted_valid = scene.read(Window(window.row + 10, window.column + 20, window.height, window.width))
        assert np.array_equal(own, wanted)
        assert np.array_equal(valid, wanted_valid)


def test_a_reduced_part_is_the_mean(scene: Scene, pixels: np.ndarray) -> None:
    part = ScenePart(scene, Window(8, 16, 16, 20), 4)
    assert (part.size, part.covered) == ((4, 5), Window(8, 16, 16, 20))
    found, valid = part.read(Window(0, 0, 4, 5))
    mean = pixels[8:24, 16:36, ::-1].reshape(4, 4, 5, 4, 2).mean(axis=(1, 3))
    assert valid.all()
    assert np.abs(found - mean).max() <= 0.5  # in whole numbers, as the file's


def test_a_part_that_the_step_does_not_divide_covers_a_little_more(scene: Scene) -> None:
    part = ScenePart(scene, Window(5, 50, 11, 10), 4)
    assert (part.size, part.covered) == ((3, 3), Window(4, 48, 12, 12))
    assert part.read(Window(0, 0, 3, 3))[1].all()
    end = ScenePart(scene, Window(33, 57, 7, 3), 7)
    assert (end.size, end.covered) == ((2, 1), Window(28, 56, 12, 4))
    assert end.read(Window(0, 0, 2, 1))[1].all()


def test_a_part_travels(scene: Scene) -> None:
    part = ScenePart(scene, Window(8, 16, 16, 20), 4)
    again = pickle.loads(pickle.dumps(part))
    assert np.array_equal(again.read(Window(0, 0, 4, 5))[0], part.read(Window(0, 0, 4, 5))[0])


def test_a_scene_that_remembers_reads_each_window_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering, window = RememberingScene(scene), Window(-3, 50, 20, 20)
    wanted, inside = scene.read(window), Window(0, 0, 8, 8)
    first, mask = remembering.read(window), remembering.valid(inside)
    monkeypatch.setattr(Scene, "_read", lambda *asked: pytest.fail("it reads again"))
    for found in (first, remembering.read(window)):
        assert np.array_equal(found[0], wanted[0]) and np.array_equal(found[1], wanted[1])
    assert remembering.valid(inside) is mask
    with pytest.raises(ValueError, match="read-only"):
        first[0][:] = 0


def test_a_mosaic_is_reduced_as_one(make_grid: Make, tmp_path: Path, pixels: np.ndarray) -> None:
    grid = make_grid(40, 60)
    sources = []
    for number, columns in enumerate((slice(0, 24), slice(24, 60))):
        x, y = grid.to_map(0, columns.start)
        t = grid.transform
        own = Grid(40, columns.stop - columns.start, type(t)(t.a, t.b, x, t.d, t.e, y), grid.crs)
        sources.append(tmp_path / f"{number}.tif")
        write_raster(sources[-1], pixels[:, columns], own, names=("B1", "B2"), nodata=0)
    _, parts = describe_mosaic(sources)
    found, valid = read_reduced(RasterReader(), parts, Window(0, 0, 40, 60), (1, 2), (10, 15))
    assert valid.all()
    assert np.abs(found - pixels.reshape(10, 4, 15, 4, 2).mean(axis=(1, 3))).max() <= 0.5


def test_what_has_no_data_does_not_count_in_the_mean(make_grid: Make, tmp_path: Path) -> None:
    pixels = np.full((8, 8, 1), 100, np.uint16)
    pixels[:4, :4] = 0
    pixels[0, 4] = 0
    write_raster(tmp_path / "scene.tif", pixels, make_grid(8, 8), nodata=0)
    _, parts = describe_mosaic([tmp_path / "scene.tif"])
    found, valid = read_reduced(RasterReader(), parts, Window(0, 0, 8, 8), (1,), (2, 2))
    assert valid[..., 0].tolist() == [[False, True], [True, True]]
    assert found[..., 0].tolist() == [[0, 100], [100, 100]]
