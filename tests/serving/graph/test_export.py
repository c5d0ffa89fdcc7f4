"""The export: what is written, where, and the runs that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import prediction_log_pb2

import cli
from fewshot.errors import ArtifactError, DataNotFoundError, RecipeError
from fewshot.exported.card import Limits, read_card
from fewshot.exported.predictor import LocalPredictor
from fewshot.training.run import Run
from serving.graph import export as module
from serving.graph.description import describe_run, find_accuracy
from serving.graph.export import ExportOptions, export, publish
from serving.server.graphs import Graph


def test_versions_are_never_overwritten(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "land" / "007").mkdir(parents=True)
    (tmp_path / "land" / "12").mkdir()
    for taken in (7, 12):
        with pytest.raises(ArtifactError, match=r"never changed.*next free one \(13\)"):
            export(trained_run, tmp_path, ExportOptions(name="land", version=taken))
    assert sorted(path.name for path in (tmp_path / "land").iterdir()) == ["007", "12"]


@pytest.mark.slow
def test_the_command_exports(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "trained" / "2").mkdir(parents=True)
    arguments = ["export", str(trained_run), "--to", str(tmp_path), "--max-steps", "9"]
    result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert str(tmp_path / "trained" / "3") in result.output.replace("\n", "")
    assert read_card(tmp_path / "trained" / "3").limits.steps == 9
    assert sorted(path.name for path in (tmp_path / "trained").iterdir()) == ["2", "3"]


def test_a_server_that_polls_sees_no_half_version(tmp_path: Path) -> None:
    seen: list[str] = []

    def write(partial: Path) -> None:
        partial.mkdir()
        (partial / "saved_model.pb").write_text("whole")
        seen.extend(path.name for path in tmp_path.iterdir())

    def fails(partial: Path) -> None:
        write(partial)
        raise OSError("no space left on device")

    with pytest.raises(ArtifactError, match=r"1 cannot be written: no space left on device"):
        publish(tmp_path / "1", fails)
    assert list(tmp_path.iterdir()) == []
    assert (publish(tmp_path / "1", write) / "saved_model.pb").exists()
    assert len(seen) == 2
    assert not any(name.isdecimal() for name in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    with pytest.raises(ArtifactError, match="cannot be written"):
        publish(tmp_path / "1", write)  # another export was faster
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.slow
def test_warm_up_records_are_requests_that_every_signature_answers(trained: Any, local: LocalPredictor) -> None:
    path = trained.folder / "assets.extra" / "tf_serving_warmup_requests"
    names = []
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        outputs = local.call(request.model_spec.signature_name, inputs)
        assert all(np.all(np.isfinite(value)) for key, value in outputs.items() if key != "json")
        assert request.model_spec.name == "trained"
        names.append(request.model_spec.signature_name)
    assert path.stat().st_size < 100_000, "pictures are written out value by value"
    assert sorted(names) == sorted([*trained.card.signatures, "serving_default"])


@pytest.mark.slow
def test_who_asks_it_is_warned_of_no_gradient(trained: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        LocalPredictor(trained.folder)
        Graph(trained.folder, ["serve"])  # as the server loads it
        assert "gradient" not in caplog.text
        tf.saved_model.load(str(trained.folder))
    assert "gradient" in caplog.text  # who might differentiate it is


@pytest.mark.slow
def test_a_graph_that_does_not_answer_is_not_published(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fails(folder: Path, requests: list[tuple[str, dict[str, Any]]]) -> None:
        asked.extend(name for name, _ in requests)
        raise tf.errors.InternalError(None, None, "no answer")

    monkeypatch.setattr(module, "replay", fails)
    with pytest.raises(tf.errors.InternalError):
        export(trained_run, tmp_path)
    assert {"adapt_and_predict", "serving_default"} <= set(asked)
    assert not list(tmp_path.rglob("saved_model.pb"))


def test_the_card_says_what_the_run_was(trained: Any, pictures: Any) -> None:
    card = trained.card
    assert card.steps == 2
    assert (card.label_space, card.classes, card.outputs, card.output) == ("task", (), None, "patch")
    assert (card.size.rows, card.size.columns, card.size.free) == (16, 16, False)
    assert card.band_names == ("band 1", "band 2", "band 3", "band 4")
    assert "not known" in card.data.licence
    assert card.recipe["network"]["filters"] == 6
    assert card.rates.smallest < card.rates.mean < card.rates.largest
    assert not card.transductive
    assert card.accuracy is None
    assert set(card.versions) == {"python", "fewshot", "tensorflow", "keras", "numpy"}
    eight_bit = pictures.card
    assert [entry.name for entry in eight_bit.classes] == ["barley", "maize", "oats"]
    assert (eight_bit.band_names, eight_bit.value_type) == (("red", "green", "blue"), "uint8")
    assert eight_bit.limits.classes == eight_bit.outputs == 3
    assert eight_bit.size.free
    assert eight_bit.size.smallest == 4


def test_signatures_of_the_card_are_those_of_the_graph(
    trained: Any, pictures: Any, local: LocalPredictor, local_pictures: LocalPredictor
) -> None:
    for exported, predictor in ((trained, local), (pictures, local_pictures)):
        signatures = predictor._model.signatures
        assert set(signatures) == {*exported.card.signatures, "serving_default"}
        for name, note in exported.card.signatures.items():
            inputs = signatures[name].structured_input_signature[1]
            assert {key: spec.dtype.name for key, spec in inputs.items()} == {
                key: tensor.dtype for key, tensor in note.inputs.items()
            }
            assert {key: spec.dtype.name for key, spec in signatures[name].structured_outputs.items()} == {
                key: tensor.dtype for key, tensor in note.outputs.items()
            }
    assert "predict_base" in pictures.card.signatures
    assert "adapt_and_predict_encoded" in pictures.card.signatures
    assert not {"predict_base", "adapt_and_predict_encoded"} & set(trained.card.signatures)


def test_the_evaluation_that_the_run_holds_is_found(broken: Path) -> None:
    run = Run.open(broken)
    assert find_accuracy(run, None) is None
    figures = {"recipe": "demo", "learner": "proto-maml", "tasks": 20, "ways": 3, "shots": 2, "steps": 2, "data": "x"}
    mine = {**figures, "accuracy": {"mean": 0.7, "ci95": 0.05}}
    # What lies about in the folder is not taken for it, however new, but may be named.
    (broken / "newer.json").write_text(json.dumps(mine))
    assert find_accuracy(run, None) is None
    assert find_accuracy(run, broken / "newer.json") is not None
    (broken / "evaluation.json").write_text(json.dumps(mine))
    (broken / "zother.json").write_text(json.dumps({**mine, "learner": "maml"}))
    accuracy = find_accuracy(run, None)
    assert accuracy is not None
    assert (accuracy.mean, accuracy.ci95, accuracy.tasks) == (0.7, 0.05, 20)
    with pytest.raises(ArtifactError, match="not an evaluation of demo"):
        find_accuracy(run, broken / "zother.json")
    # What was measured with other views or steps says nothing of this model.
    for settings in (["views.count=2", "views.shift=0.1"], ["learner.evaluation_steps=1"]):
        assert find_accuracy(Run.open(broken, settings), None) is None


def test_a_transductive_run_needs_leave_and_says_so(make_pictures_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_pictures_run('network.normalization="batch"', "learner.evaluation_steps=5")
    with pytest.raises(ArtifactError, match=r"transductive.*network\.normalization=support"):
        export(folder, tmp_path)
    run = Run.open(folder)
    regions = run.parts()["train"]
    card = describe_run(run.recipe, regions, run.learner(regions), Limits(steps=3, examples=9), None)
    assert card.transductive
    assert (card.steps, card.limits.steps, card.limits.examples) == (5, 5, 9), (
        "limits never exclude the run's own steps"
    )


@pytest.fixture
def broken(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "broken"))


def test_an_untrained_run_is_refused(broken: Path, tmp_path: Path) -> None:
    (broken / "best.weights.h5").unlink()
    with pytest.raises(ArtifactError, match="did not reach its first validation"):
        export(broken, tmp_path)


def test_damaged_weights_are_refused(broken: Path, tmp_path: Path) -> None:
    weights = broken / "best.weights.h5"
    weights.write_bytes(weights.read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="damaged"):
        export(broken, tmp_path)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(broken: Path, tmp_path: Path) -> None:
    recipe = json.loads((broken / "recipe.json").read_text())
    recipe["network"]["filters"] = 7
    (broken / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ArtifactError, match="does not fit"):
        export(broken, tmp_path)


def test_weights_that_are_not_finite_are_refused(trained: Any, broken: Path, tmp_path: Path) -> None:
    variable = trained.learner.body.trainable_variables[0]
    kept = variable.numpy()
    try:
        variable.assign(np.full_like(kept, np.nan))
        trained.learner.save_weights(broken / "best.weights.h5")
    finally:
        variable.assign(kept)
    with pytest.raises(ArtifactError, match="not a number"):
        export(broken, tmp_path)


def test_what_is_no_classifying_run_is_refused(tmp_path: Path, broken: Path) -> None:
    with pytest.raises(ArtifactError, match="not a run folder"):
        export(tmp_path, tmp_path)
    recipe = json.loads((broken / "recipe.json").read_text())
    recipe["data"]["source"] = "sine"
    (broken / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(RecipeError, match="sine waves"):
        export(broken, tmp_path)


def test_data_that_moved_is_named(
    make_pictures_run: Callable[..., Path], pictures_folder: Path, tmp_path: Path
) -> None:
    run = make_pictures_run()
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "data": ["gone"]}))
    with pytest.raises(DataNotFoundError, match="gone"):
        export(run, tmp_path)
    assert Run.open(run).parts((pictures_folder,))["train"].region_names == ("hill",)


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", ".hidden"])
def test_a_name_that_is_no_part_of_a_url_is_refused(name: str, trained_run: Path, tmp_path: Path) -> None:
    if name:
        with pytest.raises(ArtifactError, match="cannot name a served model"):
            export(trained_run, tmp_path, ExportOptions(name=name))
    else:
        assert module.model_name(name, trained_run) == "trained"
