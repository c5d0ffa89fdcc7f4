"""Served models answer as well as `evaluate` says: the same tasks by our client, by bare stubs and by curl.

Runs that are already trained are compared from the command line, which prints one row a run:

    python -m tests.serving.test_served_accuracy runs/land runs/omniglot --split validation --tasks 200
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import cli
from fewshot.demo.serving import free_port, server
from fewshot.exported.client import FewshotClient
from fewshot.tasks.task import read_tasks
from fewshot.training.evaluation.measure import learner_predict
from fewshot.training.run import Run

Array = np.ndarray
WAYS = ("gRPC", "REST", "stubs", "curl")
SIGNATURE = "adapt_and_predict"
HALF_A_PERCENT = 0.005
CLOSE = 1e-3
"""Two classes whose probabilities differ by less are as good as tied: another runtime may turn them round."""
PATIENCE = 120
"""Seconds for one request, on a machine that does other things."""


@dataclass(frozen=True)
class Sent:
    """One task as clients send it.

    Attributes:
        support_x: [n, H, W, bands] values as the card describes them.
        support_y: [n] int32 labels in the card's label space.
        query_x: [m, H, W, bands].
        query_y: [m] int32, the true labels.
        expected: [m] int32, what the learner of the run folder predicts.
        margin: [m] how far the probability of that class is above the next one.
    """

    support_x: Array
    support_y: Array
    query_x: Array
    query_y: Array
    expected: Array
    margin: Array


@dataclass(frozen=True)
class Served:
    """A run that is evaluated, exported and served.

    Attributes:
        model: Its name.
        grpc: Port.
        rest: Port.
        card: As the server tells it, plain JSON.
        tasks: The tasks of the evaluation, as clients send them.
        accuracy: [tasks] what the evaluation measured on each.
        report: What `fewshot evaluate --json` wrote.
    """

    model: str
    grpc: int
    rest: int
    card: dict[str, Any]
    tasks: list[Sent]
    accuracy: Array
    report: dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """What one way of asking made of the first tasks.

    Attributes:
        served: Mean accuracy of the answers.
        evaluated: Mean accuracy that the evaluation measured on the same tasks.
        queries: How many answers.
        ties: Answers that differ from the learner's where its two best classes were close.
        wrong: Answers that differ elsewhere.
    """

    served: float
    evaluated: float
    queries: int
    ties: int
    wrong: int


Ask = Callable[[Sent], Array]
"""Sends one task and returns the classes [m] that the server answers."""


def run_cli(*arguments: Any) -> None:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"fewshot {' '.join(map(str, arguments))}: {result.output}")


@contextlib.contextmanager
def serve_evaluated(run: Path, out: Path, *, split: str, tasks: int) -> Iterator[Served]:
    """Evaluate a run on tasks that are frozen then, export it, and serve it in a process of its own meanwhile."""
    frozen, figures = out / f"{run.name}-tasks.json", out / f"{run.name}.json"
    drawn = ("--split", split, "--tasks", tasks, "--steps", 0)
    run_cli("evaluate", run, *drawn, "--save-tasks", frozen, "--json", figures)
    report = json.loads(figures.read_text(encoding="utf-8"))
    models = out / f"{run.name}-models"
    run_cli("export", run, "--to", models, "--evaluation", figures)
    ports = free_port(), free_port()
    with server(models, *ports, out / f"{run.name}.log"):
        with bare_channel(ports[0]) as stub:
            card = read_card(stub, run.name)
        sent = list(as_sent(run, frozen, split, card))
        yield Served(run.name, *ports, card, sent, np.array(report["per_task"]), report)


def as_sent(run: Path, frozen: Path, split: str, card: dict[str, Any]) -> Iterator[Sent]:
    """Read the frozen tasks, put them as the card asks for them, and let the learner of the run folder answer."""
    opened = Run.open(run)
    regions = opened.regions(split)
    predict = learner_predict(opened.learner(regions), [card["steps"]])
    labels = [entry["name"] for entry in card["classes"]]
    for task in read_tasks(frozen, regions):
        numbers = np.arange(len(task.classes)) if card["label_space"] == "task" else None
        if numbers is None:
            numbers = np.array([labels.index(name) for name in task.classes])
        support_y, query_y = (numbers[y].astype(np.int32) for y in (task.support_y, task.query_y))
        read = [regions.store.read(images) for images in (task.support, task.query)]
        inputs = [tf.constant(part[None]) for part in (read[0], support_y, read[1])]
        expected, margin = best_of(predict(inputs)[0, 0].numpy())
        yield Sent(raw(card, read[0]), support_y, raw(card, read[1]), query_y, expected, margin)


def best_of(logits: Array) -> tuple[Array, Array]:
    """Return the class of greatest probability [m], and how far it is above the next one [m]."""
    probabilities = tf.nn.softmax(logits).numpy()
    second, first = np.sort(probabilities, axis=-1)[:, -2:].T
    return probabilities.argmax(axis=-1).astype(np.int32), first - second


def raw(card: dict[str, Any], images: Array) -> Array:
    """Turn what the network reads back into what clients hold: value = (image - offset) / scale."""
    scale, offset = (np.array([band[key] for band in card["bands"]], np.float32) for key in ("scale", "offset"))
    values = (images - offset) / scale
    size = card["size"]
    assert values.shape[1:] == (size["rows"], size["columns"], len(card["bands"]))
    if card["value_type"] == "uint8":
        whole = np.round(values)
        assert np.abs(values - whole).max() < 1e-2, "the card says whole numbers"
        values = np.clip(whole, 0, 255)
    return values.astype(np.float32)


@contextlib.contextmanager
def asking(way: str, served: Served) -> Iterator[Ask]:
    """Open one way of asking: "gRPC" and "REST" by our client, "stubs" and "curl" without it."""
    if way == "curl":
        yield lambda task: ask_curl(served, task)
        return
    if way == "stubs":
        with bare_channel(served.grpc) as stub:
            yield lambda task: ask_stub(stub, served, task)
        return
    target = f"localhost:{served.grpc}" if way == "gRPC" else f"http://localhost:{served.rest}"
    with FewshotClient(target, model=served.model, timeout=PATIENCE) as client:
        yield lambda task: client.adapt_and_predict(task.support_x, task.support_y, task.query_x).class_index


@contextlib.contextmanager
def bare_channel(port: int) -> Iterator[Any]:
    """TF Serving's own stub on a channel as gRPC opens it, without a setting."""
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_for(model: str, signature: str) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    return request


def read_card(stub: Any, model: str) -> dict[str, Any]:
    """Ask for the card as any client of TF Serving can."""
    request = request_for(model, "card")
    request.inputs["document"].dtype = types_pb2.DT_STRING
    request.inputs["document"].string_val.append(b"card.json")
    return json.loads(stub.Predict(request, timeout=PATIENCE).outputs["json"].string_val[0])


def ask_stub(stub: Any, served: Served, task: Sent) -> Array:
    """Fill the messages by hand and read the typed field of the answer."""
    request = request_for(served.model, SIGNATURE)
    for name, value in (("support_x", task.support_x), ("query_x", task.query_x)):
        shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in value.shape])
        content = np.ascontiguousarray(value, "<f4").tobytes()
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=content)
        request.inputs[name].CopyFrom(tensor)
    labels = request.inputs["support_y"]
    labels.dtype = types_pb2.DT_INT32
    labels.tensor_shape.dim.add().size = len(task.support_y)
    labels.int_val.extend(task.support_y.tolist())
    request.inputs["steps"].dtype = types_pb2.DT_INT32
    request.inputs["steps"].int_val.append(served.card["steps"])
    return np.array(stub.Predict(request, timeout=PATIENCE).outputs["class_index"].int_val)


def ask_curl(served: Served, task: Sent) -> Array:
    """Send the pictures as numbers in JSON."""
    as_numbers = np.int64 if served.card["value_type"] == "uint8" else np.float64
    inputs = {
        "support_x": task.support_x.astype(as_numbers).tolist(),
        "support_y": task.support_y.tolist(),
        "query_x": task.query_x.astype(as_numbers).tolist(),
        "steps": served.card["steps"],
    }
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(PATIENCE)]
    command += ["--header", "Content-Type: application/json", "--data-binary", "@-"]
    command.append(f"http://localhost:{served.rest}/v1/models/{served.model}:predict")
    body = json.dumps({"signature_name": SIGNATURE, "inputs": inputs})
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=True)  # noqa: S603, S607
    answer = json.loads(done.stdout)
    assert "outputs" in answer, answer
    return np.array(answer["outputs"]["class_index"])


def compare(served: Served, way: str, *, first: int | None = None) -> Compared:
    """Send the first tasks, or all of them, one way; and compare the answers with those of the run folder."""
    tasks = served.tasks[:first]
    right, ties, wrong = [], 0, 0
    with asking(way, served) as ask:
        for task in tasks:
            answers = ask(task)
            assert answers.shape == task.query_y.shape
            right.append(np.mean(answers == task.query_y))
            other = answers != task.expected
            ties += int(np.sum(other & (task.margin < CLOSE)))
            wrong += int(np.sum(other & (task.margin >= CLOSE)))
    queries = sum(len(task.query_y) for task in tasks)
    return Compared(float(np.mean(right)), float(served.accuracy[: len(tasks)].mean()), queries, ties, wrong)


@dataclass(frozen=True)
class Brief:
    """A recipe, and how to train it in moments.

    Attributes:
        recipe: Its name.
        archives: Its data, under the folder of real data.
        settings: What differs from the recipe.
        tasks: To draw for the evaluation.
    """

    recipe: str
    archives: tuple[str, ...]
    settings: tuple[str, ...]
    tasks: int


BRIEF = {
    "sen12ms": Brief(
        "sen12ms-tasks-4w2s",
        tuple(f"sen12ms_rgb64/{name}.zip" for name in ("spring_101", "winter_103", "fall_122", "summer_135")),
        ("training.updates=60", "training.validate_every=60", "training.validation_tasks=20"),
        tasks=1,  # the archives' own tasks are all used
    ),
    "omniglot": Brief(
        "omniglot-challenge-minimal",
        ("omniglot/images_background_small1.zip", "omniglot/images_background_small2.zip"),
        (
            *("training.updates=30", "training.validate_every=30", "training.validation_tasks=8"),
            *("network.filters=16", "data.size=28", "tasks.ways=10"),
        ),
        tasks=40,
    ),
}


@pytest.fixture(scope="module", params=list(BRIEF))
def served(
    request: pytest.FixtureRequest, data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    brief, out = BRIEF[request.param], tmp_path_factory.mktemp(request.param)
    paths = [data_root / archive for archive in brief.archives]
    for path in paths:
        if not path.exists():
            pytest.skip(f"real data is not here: {path} does not exist")
    named = [part for path in paths for part in ("--data", path)]
    changed = [part for setting in brief.settings for part in ("--set", setting)]
    run_cli("train", brief.recipe, *named, *changed, "--out", out / "run")
    with serve_evaluated(out / "run", out, split="validation", tasks=brief.tasks) as running:
        yield running


@pytest.mark.slow
def test_the_frozen_tasks_are_those_that_were_measured(served: Served) -> None:
    """Otherwise nothing below would mean anything."""
    assert len(served.tasks) == served.report["tasks"] == len(served.accuracy) >= 40
    local = [np.mean(task.expected == task.query_y) for task in served.tasks]
    np.testing.assert_allclose(np.mean(local), served.report["accuracy"]["mean"], atol=HALF_A_PERCENT)
    assert served.report["accuracy"]["mean"] > 1.1 / served.report["ways"]
    assert served.card["accuracy"]["mean"] == served.report["accuracy"]["mean"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_served_answers_are_as_right_as_evaluate_says(served: Served, way: str) -> None:
    if way == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    found = compare(served, way, first=20 if way == "curl" else None)
    assert abs(found.served - found.evaluated) <= HALF_A_PERCENT
    assert found.wrong == 0
    assert found.ties <= found.queries / 100


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="validation", show_default=True)
@click.option("--tasks", default=200, show_default=True, help="To draw; fixed tasks are all used.")
@click.option("--curl", "by_curl", default=20, show_default=True, help="Tasks to send with curl.")
def main(runs: Sequence[Path], split: str, tasks: int, by_curl: int) -> None:
    """Compare RUNS, already trained, with their own exports as a server answers for them."""
    click.echo(f"| run | tasks | evaluate | {' | '.join(WAYS)} | curl's tasks, by evaluate | differing answers |")
    click.echo(f"|---|{'---|' * (len(WAYS) + 4)}")
    for run in runs:
        with (
            tempfile.TemporaryDirectory() as out,
            serve_evaluated(run.resolve(), Path(out), split=split, tasks=tasks) as served,
        ):
            found = {way: compare(served, way, first=by_curl if way == "curl" else None) for way in WAYS}
        cells = [f"{100 * found[way].served:.2f} %" for way in WAYS]
        differing = ", ".join(f"{one.ties + one.wrong} of {one.queries}" for one in found.values())
        click.echo(
            f"| {run.name} | {len(served.tasks)} | {100 * served.accuracy.mean():.2f} % | {' | '.join(cells)} "
            f"| {100 * found['curl'].evaluated:.2f} % of {by_curl} | {differing} |"
        )


if __name__ == "__main__":
    main()
