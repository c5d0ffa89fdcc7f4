"""The comparison on real scenes: its parts on made-up ones, and a scene mapped with the model in the box."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from benchmarks import real_scenes
from benchmarks.real_scenes import PLACES, Truth, draw_points, score, summarise
from tests.mapping.fakes import draw_truth, grid_of, write_scene

ROOT = Path(__file__).resolve().parent.parent.parent


def made_up(polygon: np.ndarray | None = None) -> Truth:
    """Three classes in squares."""
    labels = draw_truth(60, 60).astype(np.int64) + 1
    return Truth(PLACES["nc"], Path("scene.tif"), np.zeros((60, 60, 2)), labels, polygon, grid_of(60, 60))


@pytest.fixture(scope="session")
def data(data_root: Path) -> Path:
    if not (data_root / PLACES["potsdam"].scene).exists():
        pytest.skip(f"real data is not here: {data_root / PLACES['potsdam'].scene} does not exist")
    return data_root


def places(draw: real_scenes.Draw) -> set[tuple[int, int]]:
    return set(zip(draw.rows.tolist(), draw.columns.tolist(), strict=True))


def test_a_draw_is_balanced_repeatable_and_holds_the_smaller_ones() -> None:
    truth = made_up()
    small, large = (draw_points(truth, each, seed=3) for each in (5, 20))
    assert places(small) < places(large) and len(places(large)) == 60
    assert np.bincount(large.labels).tolist() == [0, 20, 20, 20]
    assert np.array_equal(truth.labels[large.rows, large.columns], large.labels)
    assert not places(large) & {tuple(place) for place in large.tested.tolist()}
    assert len(large.tested) == 60 * 60 - 60
    assert places(draw_points(truth, 20, seed=4)) != places(large)


def test_points_and_tested_pixels_lie_in_other_polygons() -> None:
    polygon = np.arange(60 * 60).reshape(60, 60) // 30 + 1
    truth = made_up(polygon)
    draw = draw_points(truth, 5, seed=0)
    for value in (1, 2, 3):
        own = truth.labels[tuple(draw.tested.T)] == value
        shown = set(polygon[draw.rows, draw.columns][draw.labels == value].tolist())
        assert own.any() and not shown & set(polygon[tuple(draw.tested[own].T)].tolist())


def test_classes_count_alike() -> None:
    true = np.repeat([1, 2], [90, 10])
    assert score(np.ones(100), true) == {"accuracy": 0.9, "macro_f1": pytest.approx(2 * 90 / (100 + 90) / 2)}


def draw(combined: float, **plain: float) -> dict[str, Any]:
    row = {"combined": combined} | {f"plain {name}": value for name, value in plain.items()}
    return {method: {"accuracy": value, "macro_f1": value / 2} for method, value in row.items()}


def test_the_difference_is_paired_and_to_the_best_plain_one() -> None:
    draws = [draw(0.8, logistic=0.7, forest=0.75), draw(0.6, logistic=0.5, forest=0.35)]
    found = summarise({"5": draws}, ["combined"])["5"]["accuracy"]
    assert found["best"] == "plain logistic"
    assert found["rows"]["combined - best"]["mean"] == pytest.approx(0.1)
    assert found["rows"]["combined - best"]["ci95"] == pytest.approx(0, abs=1e-12)
    assert found["rows"]["combined worst draw"] == {"mean": pytest.approx(0.1), "ci95": None}
    # Student's t with one degree of freedom: 12.706 standard errors.
    assert found["rows"]["combined"]["ci95"] == pytest.approx(12.706 * 0.1, rel=1e-3)
    assert summarise({"5": draws[:1]}, ["combined"])["5"]["accuracy"]["rows"]["combined"] == {"mean": 0.8, "ci95": None}


def test_a_copy_names_an_invented_crs(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.ones((8, 8, 2), np.uint16), grid_of(8, 8, crs=None))
    (tmp_path / "copies").mkdir()
    with rasterio.open(real_scenes.with_crs(scene, tmp_path / "copies", "EPSG:32633")) as raster:
        assert raster.crs == "EPSG:32633" and raster.res == (30, 30)
    with rasterio.open(scene) as raster:
        assert raster.crs is None


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/real_scenes.py", "--data", str(tmp_path), "--scenes", "nc"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "scene.tif" in result.stderr and "--data" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_model_in_the_box_maps_potsdam(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = tmp_path / "figures.json"
    command = ["real_scenes.py", "--data", str(data), "--scenes", "potsdam", "--draws", "1", "--points", "10"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(figures), "--picture", str(tmp_path / "leads.png")])
    real_scenes.main()
    found = json.loads(figures.read_text(encoding="utf-8"))["figures"]["potsdam"]["10"]["accuracy"]["rows"]
    # The README of the scene has logistic regression at 60.5 ± 3 % with ten points of each class.
    assert found["plain logistic"]["mean"] == pytest.approx(0.6, abs=0.08)
    assert found["combined"]["mean"] > 0.55
    assert (tmp_path / "leads.png").stat().st_size > 1000
