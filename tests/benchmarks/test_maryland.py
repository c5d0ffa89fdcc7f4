"""The comparison on the real scene: its parts on made-up maps, and all of it with a model trained for a moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import maryland

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def labels() -> np.ndarray:
    """Six classes, of 30 pixels and more."""
    found = np.full((30, 40), 2, np.uint8)
    for row, value in enumerate((1, 3, 4, 5, 6)):
        found[row, :30] = value
    return found


@pytest.fixture(scope="session")
def data(data_root: Path) -> Path:
    if not (data_root / "scene_maryland" / "landsat_leaf_on.tif").exists():
        pytest.skip(f"real data is not here: {data_root}/scene_maryland does not exist")
    return data_root


def test_a_draw_is_balanced_repeatable_and_holds_the_smaller_ones(labels: np.ndarray) -> None:
    small, large = (maryland.draw_points(labels, each, seed=3) for each in (5, 20))
    places = [set(zip(draw.rows.tolist(), draw.columns.tolist(), strict=True)) for draw in (small, large)]
    assert places[0] < places[1] and len(places[1]) == 120
    assert np.bincount(large.labels).tolist() == [0, *[20] * 6]
    assert np.array_equal(labels[large.rows, large.columns], large.labels)
    other = maryland.draw_points(labels, 20, seed=4)
    assert set(zip(other.rows.tolist(), other.columns.tolist(), strict=True)) != places[1]


def test_drawn_pixels_do_not_count_and_classes_count_alike(labels: np.ndarray) -> None:
    points = maryland.draw_points(labels, 10, seed=0)
    found = labels.copy()
    found[points.rows, points.columns] = 7
    assert maryland.score(found, labels, points) == {"accuracy": 1.0, "macro_f1": 1.0}
    # A map of one class is right where that class is, and knows one class of six.
    rest = labels.size - 60
    right = np.count_nonzero(labels == 2) - 10
    one = maryland.score(np.full_like(labels, 2), labels, points)
    assert one["accuracy"] == pytest.approx(right / rest)
    assert one["macro_f1"] == pytest.approx(2 * right / (rest + right) / 6)


def test_spectra_that_tell_classes_apart_are_learned(labels: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(7, 9))
    spectra = centres[labels] + 0.02 * rng.normal(size=(*labels.shape, 9))
    points = maryland.draw_points(labels, 10, seed=0)
    for method in maryland.BASELINES:
        assert maryland.score(maryland.map_by_spectra(method, spectra, points), labels, points)["accuracy"] > 0.95


def scores(adapted: float, logistic: float, forest: float) -> dict[str, Any]:
    row = {"adapted": adapted, "logistic": logistic, "forest": forest, "logistic, own": 0.1}
    return {method: {"accuracy": value, "macro_f1": value / 2} for method, value in row.items()}


def test_the_difference_is_paired_and_to_the_better_baseline() -> None:
    found = maryland.summarise({5: [scores(0.8, 0.7, 0.75), scores(0.6, 0.5, 0.35)]})["5"]["accuracy"]
    assert found["adapted - better"]["better"] == "logistic"
    assert found["adapted - better"]["mean"] == pytest.approx(0.1)
    assert found["adapted - better"]["ci95"] == pytest.approx(0, abs=1e-12)
    # Student's t with one degree of freedom: 12.706 standard errors.
    assert found["adapted"]["ci95"] == pytest.approx(12.706 * 0.1, rel=1e-3)
    lines = maryland.table({"5": {"accuracy": found}}, draws=2)
    assert maryland.summarise({5: [scores(0.8, 0.7, 0.75)]})["5"]["accuracy"]["adapted"] == {"mean": 0.8, "ci95": None}
    assert "| 5 | accuracy | 70.0 ± 127.1 |" in lines[2] and "+10.0 ± 0.0 (logistic)" in lines[2]


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/maryland.py", "--model", str(tmp_path / "none"), "--data", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "scene_maryland" in result.stderr and "--data" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_model_of_the_simulated_earth_maps_maryland(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fewshot.data.earth.files import write_earth
    from fewshot.training.recipe import read_recipe
    from fewshot.training.train import train
    from serving.graph.export import export

    write_earth(tmp_path / "earth", regions=6, patches_per_region=1)
    settings = ["data.train=3", "data.validation=1", "data.test=0", "tasks.shots=4", "tasks.queries=2"]
    settings += ["tasks.validation_queries=2", "tasks.disjoint_sources=false", "training.updates=60"]
    settings += ["training.validate_every=60", "training.validation_tasks=2"]
    train(read_recipe("synthetic-points", settings=settings), [tmp_path / "earth"], tmp_path / "run", verbose=0)
    model = export(tmp_path / "run", tmp_path / "models")
    files = {"json": tmp_path / "figures.json", "picture": tmp_path / "maps.png"}
    command = ["maryland.py", "--model", str(model.parent), "--data", str(data), "--draws", "2", "--points", "20"]
    monkeypatch.setattr(sys, "argv", [*command, *(f"--{name}={path}" for name, path in files.items())])
    maryland.main()
    figures = json.loads(files["json"].read_text(encoding="utf-8"))["figures"]["20"]
    # What the issue names for logistic regression is 77 % and .40; two draws lie within a few points of it.
    assert figures["accuracy"]["logistic"]["mean"] == pytest.approx(0.77, abs=0.05)
    assert figures["macro_f1"]["logistic"]["mean"] == pytest.approx(0.40, abs=0.05)
    # Trained for a moment only, but adapted to real labels of a sensor it has not seen: far above one class in six.
    assert figures["accuracy"]["adapted"]["mean"] > 0.5
    assert figures["macro_f1"]["adapted"]["mean"] > 0.25
    with Image.open(files["picture"]) as picture:
        assert picture.width > 3 * picture.height
