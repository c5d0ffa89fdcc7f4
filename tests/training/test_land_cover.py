"""The land-cover recipes on small trees made by script, through the real loaders and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from click.testing import CliRunner

import cli
from fewshot.data.sources.sen12ms_index import prepare
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster
from tests.data.trees import deepglobe_tree, sen12ms_tree

pytestmark = pytest.mark.usefixtures("eager")

FAST = [
    "training.updates=3",
    "training.validate_every=3",
    "training.validation_tasks=4",
    "training.meta_batch_size=2",
    "learner.steps=1",
]
PIXELS = ["network.widths=[4, 6]", "data.window=32", "tasks.queries=2", "tasks.validation_queries=2"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Places 3, 1 and 8: one each of the published training, validation and test parts."""
    return sen12ms_tree(tmp_path_factory.mktemp("tree"), patches=5)


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train_and_evaluate(recipe: str, data: Path, out: Path, settings: list[str], *more: str) -> dict[str, Any]:
    options = [part for setting in (*FAST, *settings) for part in ("--set", setting)]
    run("train", recipe, "--data", data, "--out", out, *options)
    figures = out / "figures.json"
    run("evaluate", out, "--tasks", 4, "--steps", "0,1", "--json", figures, "--report", out / "report", *more)
    return json.loads(figures.read_text())


@pytest.mark.slow
def test_patches_of_a_tree_in_the_published_split(tree: Path, tmp_path: Path) -> None:
    settings = ["data.window=32", "network.filters=4", "network.blocks=2", "tasks.ways=3", "tasks.shots=1"]
    report = train_and_evaluate("sen12ms-4w-patch", tree, tmp_path, settings)
    assert list(report["by_region"]) == ["fall_8"]
    assert (report["ways"], report["shots"], report["tasks"]) == (3, 1, 4)
    assert {"places": ["3"]}.items() <= json.loads((tmp_path / "run.json").read_text())["parts"]["train"].items()


@pytest.mark.slow
def test_a_run_with_band_dropout_is_tested_where_bands_are_missing(tree: Path, tmp_path: Path) -> None:
    settings = ["data.window=32", "network.filters=4", "network.blocks=2", "tasks.ways=3", "tasks.shots=1"]
    settings.append("augment.band_dropout=0.3")
    everything = train_and_evaluate("sen12ms-4w-patch", tree, tmp_path, settings)
    run("evaluate", tmp_path, "--tasks", 4, "--steps", "0,1", "--bands", "B2,B3,B4", "--json", tmp_path / "rgb.json")
    some = json.loads((tmp_path / "rgb.json").read_text())
    assert some["tasks"] == everything["tasks"]
    result = CliRunner().invoke(cli.main, ["evaluate", str(tmp_path), "--bands", "B2,B99"])
    assert result.exit_code == 1
    assert "this data has no band 'B99'; it has VV, VH, B1" in result.output


@pytest.mark.slow
def test_segmentation_of_prepared_records_with_baselines_by_shots(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "made", window=32, records=True)
    report = train_and_evaluate(
        "sen12ms-segmentation",
        tmp_path / "made",
        tmp_path / "run",
        PIXELS,
        *("--baselines", "--baseline-minutes", "0.02", "--shots", "1,2"),
    )
    assert report["target"] == "pixels"
    assert {"accuracy", "mean_iou", "kappa", "curve", "by_class", "by_shots", "confusion"} <= set(report)
    baselines = {"random initialisation", "pre-training + fine-tuning", "prototypical network"}
    assert baselines | {"nearest neighbour on pixels"} == set(report["baselines"])
    for row in (report, *report["baselines"].values(), *report["by_shots"]["2"]["baselines"].values()):
        assert 0 <= row["mean_iou"]["mean"] <= 1
    text = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "mean IoU % by shots" in text
    assert "IoU %" in text
    assert (tmp_path / "run" / "report" / "confusion.png").stat().st_size > 1000


@pytest.mark.slow
def test_sparse_labels_and_any_classes_are_enough_to_train(tree: Path, tmp_path: Path) -> None:
    settings = [*PIXELS, "tasks.points=3", "tasks.labels=task", "learner.head=prototype", "tasks.shots=2"]
    report = train_and_evaluate("sen12ms-segmentation", tree, tmp_path, settings)
    assert report["points"] == 3
    assert report["accuracy"]["mean"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("split", ["random", "clusters"])
def test_deepglobe_windows_in_both_splits(split: str, tmp_path: Path) -> None:
    tree = deepglobe_tree(tmp_path / "tree")
    settings = [f"data.split={split}", "data.size=8", "data.train=2", "data.validation=1", "data.test=1"]
    report = train_and_evaluate(
        "deepglobe-1shot", tree, tmp_path / "run", [*settings, "network.widths=[3, 4]", "tasks.validation_queries=4"]
    )
    assert report["ways"] == 6
    parts = json.loads((tmp_path / "run" / "run.json").read_text())["parts"]
    places = [place for part in parts.values() for place in part["places"]]
    assert len(places) == len(set(places)) >= 4


@pytest.mark.slow
def test_a_simulated_earth_is_made_where_no_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fewshot.data.sources import sen12ms

    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sen12ms, "SIMULATED_PATCHES", 1)
    options = [*FAST, *PIXELS, "data.simulate=4", "data.train=1", "data.validation=1", "data.test=1"]
    run("train", "synthetic-segmentation", "--out", tmp_path / "run", *(p for s in options for p in ("--set", s)))
    run("evaluate", tmp_path / "run", "--tasks", 2, "--steps", "0,1", "--json", tmp_path / "figures.json")
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["data"].startswith("SIMULATED Earth")
    assert report["tasks"] == 2


def test_a_tree_without_a_published_place_says_how_to_split_it(tmp_path: Path) -> None:
    tree = sen12ms_tree(tmp_path / "tree", places={"9000": "spring"}, patches=1)
    result = CliRunner().invoke(cli.main, ["train", "sen12ms-4w-patch", "--data", str(tree), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "no place of SEN12MS (9000) is in its published split; use --set data.split=random" in result.output


@pytest.mark.slow
def test_a_real_scene_with_its_class_raster_trains(data_root: Path, tmp_path: Path) -> None:
    """Three strips of a real scene are three regions: one trains, one validates, one tests."""
    scene = data_root / "scene_maryland"
    if not scene.is_dir():
        pytest.skip(f"real data is not here: {scene} does not exist")
    strips = []
    info = describe_raster(scene / "landsat_leaf_on.tif")
    for number, column in enumerate((0, 90, 180)):
        window = Window(0, column, 260, 80)
        grid = replace(info.grid, width=80, transform=info.grid.transform @ Affine.translation(column, 0))
        for name, file, bands in (
            ("scene", "landsat_leaf_on.tif", [1, 2, 3, 4, 5, 6, 7]),
            ("classes", "landcover.tif", [1]),
        ):
            pixels, _ = RasterReader().read(scene / file, window, bands=bands)
            write_raster(tmp_path / f"{name}{number}.tif", pixels, grid)
        strips.append(f'[[scenes]]\nscene = "scene{number}.tif"\nlabels = "classes{number}.tif"\n')
    (tmp_path / "scenes.toml").write_text("scale = 1e-4\n" + "".join(strips) + "[patches]\nsize = 8\npurity = 0.5\n")
    settings = [
        *("data.split=regions", 'data.train=["scene0"]', 'data.validation=["scene1"]'),
        *('data.test=["scene2"]', "tasks.ways=2", "tasks.shots=2", "tasks.queries=2", "tasks.validation_queries=2"),
        *("network.filters=4", "network.blocks=2"),
    ]
    report = train_and_evaluate("scenes-patch", tmp_path / "scenes.toml", tmp_path / "run", settings)
    assert list(report["by_region"]) == ["scene2"]
