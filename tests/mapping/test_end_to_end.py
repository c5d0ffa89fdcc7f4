"""Real models, trained for a moment, through the command line: simulated regions and a real scene."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio import Affine
from rasterio.crs import CRS

import cli
from fewshot.data.earth.region import simulate_region
from fewshot.errors import FewshotError
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import IGBP
from tests.mapping.conftest import BANDS, ROOT, read
from tests.mapping.fakes import write_points, write_scene

Trained = Callable[[str], Path]


def fewshot(*arguments: Any) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)


def draw(ids: np.ndarray, each: int, seed: int = 0) -> list[tuple[int, int, Any]]:
    rng = np.random.default_rng(seed)
    return [
        (int(row), int(column), value)
        for value in np.unique(ids)
        for row, column in rng.permutation(np.argwhere(ids == value))[:each]
    ]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray, Grid]:
    """A simulated region that no model has seen, ten labelled points a class, and its truth."""
    folder = tmp_path_factory.mktemp("region")
    found = simulate_region(11, seed=3, size=160, bands=BANDS, radar=False)
    grid = Grid(160, 160, Affine(*found.grid.transform), CRS.from_string(found.grid.crs))
    truth = IGBP.indices(found.classes, where="region")
    scene = write_scene(folder / "scene.tif", found.optical, grid, names=BANDS)
    points = [(row, column, IGBP.names[value]) for row, column, value in draw(truth, 10)]
    return scene, write_points(folder / "labels.gpkg", grid, points), truth, grid


def right(map_path: Path, truth: np.ndarray) -> float:
    """Share of the pixels whose class has the right name."""
    with rasterio.open(map_path) as raster:
        names = {int(key[6:]): value for key, value in raster.tags().items() if key.startswith("CLASS_")}
        found = raster.read(1)
    values = {name: value for value, name in names.items()}
    return float((found == np.array([values.get(name, -1) for name in IGBP.names])[truth]).mean())


@pytest.mark.slow
def test_a_patch_model_maps_an_unseen_region(
    trained: Trained, region: tuple[Path, Path, np.ndarray, Grid], tmp_path: Path
) -> None:
    scene, labels, truth, _ = region
    model = trained("patch")
    arguments = ("map", "--model", model.parent, "--scene", scene, "--labels", labels)
    result = fewshot(*arguments, "--to", tmp_path / "map.tif", "--stride", 8, "--save-adapted", tmp_path / "mine.npz")
    assert result.exit_code == 0, result.output
    assert "Support loss" in result.output and "map.png" in result.output
    assert result.output.index("Bands: ") < result.output.index("Support loss")
    classes = len(np.unique(truth))
    # Trained for a moment, but adapted: far better than chance.
    assert right(tmp_path / "map.tif", truth) > 1.5 / classes
    said = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))
    assert said["support_loss"]["after"] < said["support_loss"]["before"]
    again = fewshot(
        *("map", "--model", model, "--scene", scene, "--adapted", tmp_path / "mine.npz"),
        *("--to", tmp_path / "again.tif", "--stride", 8),
    )
    assert again.exit_code == 0, again.output
    assert np.array_equal(read(tmp_path / "again.tif"), read(tmp_path / "map.tif"))
    refused = fewshot(*arguments, "--to", tmp_path / "other.tif", "--bands", "B2,B3")
    assert refused.exit_code == 1 and "has 7 bands, but 2 were named" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.slow
def test_a_segmentation_model_shows_no_seams(
    trained: Trained, region: tuple[Path, Path, np.ndarray, Grid], tmp_path: Path
) -> None:
    scene, labels, truth, grid = region
    # The network alone: a regression of each pixel for itself knows no windows.
    how = ("--method", "adapted", "--steps", 3)
    common = ("map", "--model", trained("pixel"), "--scene", scene, "--labels", labels, *how)
    for name, window, overlap in (("one", 64, 32), ("two", 96, 40), ("bare", 64, 0)):
        result = fewshot(*common, "--to", tmp_path / f"{name}.tif", "--window", window, "--overlap", overlap)
        assert result.exit_code == 0, result.output
    assert right(tmp_path / "one.tif", truth) > 1.5 / len(np.unique(truth))
    one, two, bare = (read(tmp_path / f"{name}_confidence.tif") for name in ("one", "two", "bare"))
    agreement = (read(tmp_path / "one.tif") == read(tmp_path / "two.tif")).mean()
    assert agreement > 0.97
    # Where windows end, blended maps jump no more than elsewhere; maps of windows side by side do.
    jumps = {name: np.abs(np.diff(found, axis=0)).mean(axis=1) for name, found in (("one", one), ("bare", bare))}
    assert jumps["one"][[31, 63, 95, 127]].mean() < 1.15 * np.median(jumps["one"])
    assert np.abs(one - two).mean() < np.abs(bare - two).mean()
    flat = np.full((150, 190, len(BANDS)), 1200, np.uint16)
    write_scene(tmp_path / "flat.tif", flat, Grid(150, 190, grid.transform, grid.crs), names=BANDS)
    adapted = tmp_path / "mine.npz"
    assert fewshot(*common, "--to", tmp_path / "map.tif", "--save-adapted", adapted).exit_code == 0
    result = fewshot(
        *("map", "--model", trained("pixel"), "--scene", tmp_path / "flat.tif", "--adapted", adapted),
        *("--to", tmp_path / "flat_map.tif", "--window", 64, "--overlap", 32),
    )
    assert result.exit_code == 0, result.output
    inside = np.s_[16:-16, 16:-16]  # beyond the scene's own edge the network sees zeros
    assert len(np.unique(read(tmp_path / "flat_map.tif")[inside])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "patch"])
def test_worker_processes_give_the_same_bits(
    trained: Trained, region: tuple[Path, Path, np.ndarray, Grid], tmp_path: Path, kind: str, small_groups: None
) -> None:
    scene, labels, _, _ = region
    common = ["map", "--model", trained(kind), "--scene", scene, "--labels", labels, "--probabilities"]
    common += ["--window", 32, "--overlap", 8] if kind == "pixel" else ["--stride", 8]
    for name, workers in (("one", 1), ("two", 2)):
        result = fewshot(*common, "--to", tmp_path / name / "map.tif", "--workers", workers)
        assert result.exit_code == 0, result.output
    for name in ("map.tif", "map_confidence.tif", "map_probabilities.tif"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(models: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a server in a process of its own, and wait until it answers."""
    command = [sys.executable, "cli.py", "serve", str(models), f"--port={port}", f"--rest-api-port={free_port()}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None
        time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle(
    trained: Trained, region: tuple[Path, Path, np.ndarray, Grid], tmp_path: Path, small_groups: None
) -> None:
    from fewshot.exported.client import FewshotClient
    from fewshot.mapping.predict.layout import WindowPlan
    from fewshot.mapping.predict.pipeline import run_here
    from fewshot.mapping.region_map import map_scene
    from fewshot.mapping.request import MapRequest
    from fewshot.mapping.support.examples import LabelPlan

    scene, labels, _, _ = region
    model, port = trained("patch"), free_port()
    target = f"127.0.0.1:{port}/{model.parent.name}"
    request = MapRequest((str(scene),), tmp_path / "map.tif", LabelPlan(labels), windows=WindowPlan(stride=8), steps=2)
    server = serve(model.parent.parent, port)
    try:

        def kill(done: int, total: int) -> None:
            if done == 3:
                os.kill(server.pid, signal.SIGKILL)

        with FewshotClient(target, timeout=3) as client:
            with pytest.raises(FewshotError, match=r"UNAVAILABLE.*finished blocks are kept; go on with --resume"):
                map_scene(client, run_here(client), request, progress=kill)
    finally:
        server.kill()
        server.wait()
    assert not (tmp_path / "map.tif").exists()
    server = serve(model.parent.parent, port)
    try:
        result = fewshot(
            *("map", "--server", target, "--scene", scene, "--labels", labels, "--stride", 8, "--steps", 2),
            *("--to", tmp_path / "map.tif", "--resume"),
        )
        assert result.exit_code == 0, result.output
    finally:
        server.kill()
        server.wait()
    result = fewshot(
        *("map", "--model", model, "--scene", scene, "--labels", labels, "--stride", 8, "--steps", 2),
        *("--to", tmp_path / "here.tif"),
    )
    assert np.array_equal(read(tmp_path / "here.tif"), read(tmp_path / "map.tif"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "patch"])
def test_a_real_scene_with_oblong_pixels(trained: Trained, data_root: Path, tmp_path: Path, kind: str) -> None:
    """Landsat over Maryland: ten labelled points a class, and accuracy on all other pixels."""
    folder = data_root / "scene_maryland"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} does not exist")
    with rasterio.open(folder / "landcover.tif") as raster:
        ids = raster.read(1)
        grid = Grid(raster.height, raster.width, raster.transform, raster.crs)
    points = write_points(tmp_path / "points.gpkg", grid, draw(ids, 10))
    result = fewshot(
        *("map", "--model", trained(kind), "--scene", folder / "landsat_leaf_on.tif", "--bands", "1,2,3,4,5,6,7"),
        *("--labels", points, "--validation", folder / "landcover.tif", "--to", tmp_path / "map.tif"),
        *(("--stride", 4) if kind == "patch" else ()),
    )
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert (raster.shape, raster.transform, raster.crs) == ((260, 260), grid.transform, grid.crs)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(np.unique(raster.read(1))) <= {1, 2, 3, 4, 5, 6}
    said = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))
    assert said["accuracy"]["samples"] > 60_000
    assert said["accuracy"]["overall"] > 0.35  # six classes
    exact = (read(tmp_path / "map.tif") == ids).mean()
    assert said["accuracy"]["overall"] == pytest.approx(exact, abs=0.01)
    assert said["accuracy"]["area_adjusted_overall"]["ci95"] > 0
