"""A predictor: typed answers, queries in parts, and our errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from fewshot.errors import ArtifactError, DataNotFoundError, DivergedError, ShapeError
from fewshot.exported.card import Card
from fewshot.exported.client import open_predictor
from fewshot.exported.predictor import LocalPredictor, Predictor, refusal


class Counting(Predictor):
    """Passes calls on and remembers them."""

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        self.calls.append((signature, dict(inputs)))
        return self.inner.call(signature, inputs)

    def read_card(self) -> Card:
        return self.inner.read_card()


def test_answers_are_the_learners(trained: Any, local: LocalPredictor) -> None:
    task = trained.task((1, 2, 3))
    answer = local.adapt_and_predict(*task)
    np.testing.assert_allclose(answer.probabilities, trained.probabilities(*task, steps=2), atol=1e-5)
    assert answer.support_loss is not None
    assert answer.support_loss.after < answer.support_loss.before
    adapted = local.adapt(*task[:2], steps=5)
    np.testing.assert_allclose(
        local.predict(adapted, task[2]).probabilities, trained.probabilities(*task, steps=5), atol=1e-5
    )
    assert adapted.classes == 3
    weight = np.array([1, 1, 2, 1, 0, 3])
    np.testing.assert_allclose(
        local.adapt_and_predict(*task, support_weight=weight).probabilities,
        local.predict(local.adapt(*task[:2], support_weight=weight), task[2]).probabilities,
        atol=1e-6,
    )


def test_lists_and_other_types_are_taken(trained: Any, local: LocalPredictor) -> None:
    support_x, labels, query_x = trained.task()
    plain = local.adapt_and_predict(support_x, labels, query_x)
    other = local.adapt_and_predict(support_x.tolist(), labels.astype(np.int64).tolist(), query_x.astype(np.float64))
    np.testing.assert_array_equal(plain.probabilities, other.probabilities)


def test_many_queries_go_in_parts_after_one_adaptation(trained: Any, local: LocalPredictor) -> None:
    support_x, labels, query_x = trained.task(queries=7)
    whole = local.adapt_and_predict(support_x, labels, query_x)
    counting = Counting(local)
    counting.picture_bytes = 3 * query_x[0].nbytes + 1
    parts = counting.adapt_and_predict(support_x, labels, query_x)
    assert [(name, len(inputs.get("query_x", ()))) for name, inputs in counting.calls] == [
        ("adapt", 0),
        ("predict", 3),
        ("predict", 3),
        ("predict", 1),
    ]
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-6)
    np.testing.assert_array_equal(parts.class_index, whole.class_index)
    assert parts.support_loss == whole.support_loss


def test_the_default_is_the_cards_number_of_steps(trained: Any, local: LocalPredictor) -> None:
    counting = Counting(local)
    counting.adapt(*trained.task()[:2])
    counting.adapt(*trained.task()[:2], steps=0)
    assert [int(inputs["steps"]) for _, inputs in counting.calls] == [trained.card.steps, 0]


@pytest.mark.slow
def test_a_transductive_model_is_not_asked_in_parts(transductive: Any) -> None:
    predictor = LocalPredictor(transductive.folder)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    labels = np.array([0, 0, 0, 1, 1, 1])
    together = predictor.adapt_and_predict(pictures, labels, pictures).probabilities
    alone = predictor.adapt_and_predict(pictures, labels, pictures[:1]).probabilities
    assert np.abs(alone[0] - together[0]).max() > 1e-4
    predictor.picture_bytes = 4 * pictures[0].size * 4
    with pytest.raises(ShapeError, match="transductive.* 4 in one; received 6"):
        predictor.adapt_and_predict(pictures, labels, pictures)


def test_refusals_are_our_errors(
    trained: Any, pictures: Any, local: LocalPredictor, local_pictures: LocalPredictor
) -> None:
    support_x, labels, query_x = trained.task()
    with pytest.raises(ShapeError, match=r"^support_x holds no picture; expected at least 1\.$"):
        local.adapt(support_x[:0], labels[:0])
    with pytest.raises(ShapeError, match=r"^steps is 51; the model takes 0 to 50, or -1 to let the support decide\.$"):
        local.adapt(support_x, labels, steps=51)
    with pytest.raises(ShapeError, match="3 axes"):
        local.adapt_and_predict(support_x, labels, query_x[0])
    with pytest.raises(ShapeError, match="support_y is whole numbers"):
        local.adapt(support_x, labels + 0.5)
    with pytest.raises(ShapeError, match="support_x is numbers"):
        local.adapt(np.array(["a"]), labels)
    with pytest.raises(ArtifactError, match="prototype head"):
        local.predict_base(query_x)
    other = local_pictures
    foreign = other.adapt(*pictures.task()[:2])
    with pytest.raises(ArtifactError, match=r"^adapted has .* numbers"):
        local.predict(foreign, query_x)
    assert other.predict_base(pictures.task()[2]).probabilities.shape == (5, 3)


def test_features_come_in_as_many_calls_as_are_needed(trained: Any, local: LocalPredictor) -> None:
    support_x, labels, query_x = trained.task(queries=7)
    adapted = local.adapt(support_x, labels)
    whole = local.features(query_x, adapted)
    assert whole.shape == (7, local.card().adapted.per_class - 1)
    few = LocalPredictor(trained.folder)
    few.picture_bytes = 4 * query_x[0].size * 3
    np.testing.assert_allclose(few.features(query_x, adapted), whole, atol=1e-5)
    np.testing.assert_allclose(few.features(query_x[:3]), local.features(query_x[:3]), atol=1e-5)
    with pytest.raises(ShapeError, match="takes 3 of these; received 7. Adapt it first"):
        few.features(query_x)
    few._card = replace(few.card(), signatures={})
    with pytest.raises(ArtifactError, match="exported without features"):
        few.features(query_x, adapted)


def test_messages_of_other_runtimes_are_read_too() -> None:
    plain = "assertion failed: [steps is 9; the model takes 0 to 5.]\n\t [[{{node Assert}}]]"
    assert str(refusal(plain)) == "steps is 9; the model takes 0 to 5."
    brackets = "assertion failed: [support_y is of shape [3], support_x asks for [7]; they must agree.]"
    assert str(refusal(brackets)) == "support_y is of shape [3], support_x asks for [7]; they must agree."
    assert isinstance(refusal("assertion failed: [Adaptation diverged: x.]\n\t [[{{node A}}]]"), DivergedError)
    other = refusal("Graph execution error:\n\nDetected at node x\nInvalid PNG data, size 200\n\t [[{{node d}}]]")
    assert str(other) == "The model refuses the request: Invalid PNG data, size 200"


def test_models_are_found_by_folder(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no folder"):
        open_predictor(tmp_path / "nowhere")
    with open_predictor(trained.folder.parent) as predictor:
        assert predictor.card() == trained.card


def test_a_damaged_model_is_named(trained: Any, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(trained.folder, tmp_path / "broken"))
    (broken / "saved_model.pb").write_bytes(b"\x00\x01 no protobuf")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        LocalPredictor(broken)


def test_the_command_classifies_pictures(pictures: Any, pictures_folder: Path, tmp_path: Path) -> None:
    places = ["--support", str(pictures_folder / "hill"), "--query", str(pictures_folder / "valley")]
    kept = tmp_path / "kept.npz"
    model = ["predict", "--model", str(pictures.folder.parent)]
    first = CliRunner().invoke(cli.main, [*model, *places, "--json", "--save-adapted", str(kept)])
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert found["classes"] == ["barley", "maize", "oats"]
    assert len(found["predictions"]) == 24 and 0 <= found["accuracy"] <= 1
    again = CliRunner().invoke(
        cli.main, [*model, *places[2:], "--adapted", str(kept), "--report", str(tmp_path / "report")]
    )
    assert again.exit_code == 0, again.output
    assert f"{100 * found['accuracy']:.1f} % of 24 pictures" in again.output
    assert (tmp_path / "report" / "predictions.png").exists()
    neither = CliRunner().invoke(cli.main, ["predict", *places])
    assert neither.exit_code == 2 and "give one of --model and --server" in neither.output
