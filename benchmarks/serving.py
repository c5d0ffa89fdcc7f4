"""What does serving cost: the exported signature beside the graph before export, and the server beside both?

    python benchmarks/serving.py [--rounds 5] [--calls 40] [--run RUN] [--json FILE]

Everything is measured in one run, in turns (A B C, A B C, ...), so that a slow minute of the machine slows all; what
is compared is the median over the rounds of the ratios within a round. The server is a process of its own, started as
a user starts it; the clients are here. Without `--run`, the demo's network is trained for a moment on simulated
patches: its speed is that of any training of it.

    bare      the traced signature before export, with the Keras learner's own variables
    loaded    the same signature of the SavedModel
    grpc      one client of `fewshot serve` over gRPC; `rest` over REST, as JSON
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fewshot.demo.serving import free_port, server  # noqa: E402
from fewshot.exported.card import read_card  # noqa: E402
from fewshot.exported.client import FewshotClient  # noqa: E402
from fewshot.tasks.sampler import sample_tasks  # noqa: E402 (the root must be on the path first)
from fewshot.tasks.task import gather  # noqa: E402
from fewshot.training.kinds.images import Images  # noqa: E402
from fewshot.training.recipe import read_recipe  # noqa: E402
from fewshot.training.run import Run  # noqa: E402
from fewshot.training.train import train  # noqa: E402
from serving.graph.export import export  # noqa: E402
from serving.graph.signatures import make_module  # noqa: E402

STEPS = 5
CLIENTS = 4
ASKED = {
    "loaded / bare": "<= 1.3",
    "grpc / loaded": "<= 1.5",
    "rest / grpc": "<= 1.3",
    "4 clients, grpc / in process (throughput)": ">= 0.8",
    "first request after warm-up / median": "<= 2",
    "adapt_and_predict / predict, loaded": ">= 4",
    "adapt_and_predict / predict, grpc": ">= 4",
}
Call = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """A trained run, its export, and one task to ask about."""

    version: Path
    bare: Call
    loaded: Call
    predict: Call
    task: tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> None:
    """Export a run, call it in each way in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=40, help="calls of each kind in a round")
    parser.add_argument("--run", type=Path, help="a trained run to export; the demo's network otherwise")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject = prepare(options.run or quick_run(folder / "demo"), folder / "models")
        rounds = [run_round(subject, folder, options.calls) for _ in range(options.rounds)]
    figures = summarise(rounds, subject)
    print_figures(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def quick_run(out: Path) -> Path:
    """Train the demo's network for a few updates."""
    settings = ["training.updates=20", "training.validate_every=20", "training.validation_tasks=4"]
    train(read_recipe("demo", learner="meta-sgd", settings=settings), [], out, verbose=0)
    return out


def prepare(run: Path, models: Path) -> Subject:
    """Export a run and return the ways to call it in this process."""
    version = export(run, models)
    opened, card = Run.open(run), read_card(version)
    regions = opened.regions("train")
    learner = opened.learner(regions)
    spec = Images(opened.recipe.tasks).evaluation_spec()
    batch = gather(regions, sample_tasks(regions, spec, 1, seed=0))
    scale, offset = (np.array([getattr(band, key) for band in card.bands], np.float32) for key in ("scale", "offset"))
    support_x, query_x = (((x[0] - offset) / scale).astype(np.float32) for x in (batch.support_x, batch.query_x))
    labels = batch.support_y[0].astype(np.int32)
    inputs = {
        key: tf.constant(value)
        for key, value in zip(
            ("support_x", "support_y", "query_x", "steps"), (support_x, labels, query_x, np.int32(STEPS)), strict=True
        )
    }
    module, signatures = make_module(learner, card, None if card.outputs is None else learner.start().state)
    model = tf.saved_model.load(str(version))
    adapted = model.signatures["adapt"](**{key: inputs[key] for key in ("support_x", "support_y", "steps")})["adapted"]

    def bare(_owner: tf.Module = module) -> Any:
        return signatures["adapt_and_predict"](**inputs)["probabilities"].numpy()

    def loaded(_owner: Any = model) -> Any:
        return model.signatures["adapt_and_predict"](**inputs)["probabilities"].numpy()

    def predict(_owner: Any = model) -> Any:
        return model.signatures["predict"](adapted=adapted, query_x=inputs["query_x"])["probabilities"].numpy()

    np.testing.assert_allclose(bare(), loaded(), atol=1e-5)
    return Subject(version, bare, loaded, predict, (support_x, labels, query_x))


def run_round(subject: Subject, folder: Path, calls: int) -> dict[str, Any]:
    """Start a server, and call each contender in turn."""
    grpc, rest = free_port(), free_port()
    with server(folder / "models", grpc, rest, folder / "serve.log"):
        targets = {"grpc": f"localhost:{grpc}", "rest": f"http://localhost:{rest}"}
        clients = {name: FewshotClient(target, model=subject.version.parent.name) for name, target in targets.items()}
        pid = process_listening(folder / "serve.log")
        over = {name: lambda client=client: ask(client, subject) for name, client in clients.items()}
        clients["grpc"].card()  # a client connects and asks what the model expects before it sends pictures
        first = seconds_of(over["grpc"])
        adapted = clients["grpc"].adapt(*subject.task[:2], steps=STEPS)
        second = {"predict grpc": lambda: clients["grpc"].predict(adapted, subject.task[2])}
        contenders = {"bare": subject.bare, "loaded": subject.loaded, **over, "predict": subject.predict, **second}
        found: dict[str, Any] = {name: [] for name in contenders}
        for call in contenders.values():
            call()
        for _ in range(calls):
            for name, call in contenders.items():
                found[name].append(seconds_of(call))
        found["first"] = first
        found["throughput in process"] = throughput(lambda: subject.loaded, calls)
        opened = [FewshotClient(targets["grpc"], model=subject.version.parent.name) for _ in range(CLIENTS)]
        waiting = iter([lambda client=client: ask(client, subject) for client in opened])
        found["throughput grpc"] = throughput(lambda: next(waiting), calls)
        found["server_mb"] = memory(pid)
        for client in (*clients.values(), *opened):
            client.close()
    print(f"a round: grpc {1000 * statistics.median(found['grpc']):.1f} ms", file=sys.stderr)
    return found


def ask(client: FewshotClient, subject: Subject) -> Any:
    """Adapt and predict on the server."""
    return client.adapt_and_predict(*subject.task, steps=STEPS)


def seconds_of(call: Call) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def throughput(make: Callable[[], Call], calls: int) -> float:
    """Return the calls a second of `CLIENTS` threads that each call `calls` times."""
    ready = [make() for _ in range(CLIENTS)]
    gate = threading.Barrier(CLIENTS + 1)

    def work(call: Call) -> None:
        call()
        gate.wait()
        for _ in range(calls):
            call()

    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(work, call) for call in ready]
        gate.wait()
        began = time.perf_counter()
        for thread in running:
            thread.result()
        return CLIENTS * calls / (time.perf_counter() - began)


def process_listening(log: Path) -> int:
    """Return the number of the server's process: the child of this one that writes the log."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and (status.parent / "fd" / "1").resolve() == log.resolve():
                return int(status.parent.name)
        except OSError:
            continue
    raise SystemExit(f"no server writes {log}")


def memory(pid: int) -> dict[str, float]:
    """Return the memory of a process now and at its peak, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {key: int(line.split()[1]) / 1024 for key in ("VmRSS", "VmHWM") for line in lines if line.startswith(key)}


def summarise(rounds: list[dict[str, Any]], subject: Subject) -> dict[str, Any]:
    """Return the median ratios, the times and the memory."""

    def ratio(one: str, two: str) -> dict[str, float]:
        each = [statistics.median(found[one]) / statistics.median(found[two]) for found in rounds]
        return spread(each)

    def spread(each: list[float]) -> dict[str, float]:
        return {"median": statistics.median(each), "least": min(each), "most": max(each)}

    ratios = {
        "loaded / bare": ratio("loaded", "bare"),
        "grpc / loaded": ratio("grpc", "loaded"),
        "rest / grpc": ratio("rest", "grpc"),
        "4 clients, grpc / in process (throughput)": spread(
            [found["throughput grpc"] / found["throughput in process"] for found in rounds]
        ),
        "first request after warm-up / median": spread(
            [found["first"] / statistics.median(found["grpc"]) for found in rounds]
        ),
        "adapt_and_predict / predict, loaded": ratio("loaded", "predict"),
        "adapt_and_predict / predict, grpc": ratio("grpc", "predict grpc"),
    }
    names = [name for name, value in rounds[0].items() if isinstance(value, list)]
    times = {name: np.concatenate([found[name] for found in rounds]) for name in names}
    return {
        "task": {"support": list(subject.task[0].shape), "query": list(subject.task[2].shape), "steps": STEPS},
        "cores": os.cpu_count(),
        "ratios": ratios,
        "milliseconds": {
            name: {f"p{p}": float(1000 * np.percentile(values, p)) for p in (50, 95, 99)}
            for name, values in times.items()
        },
        "calls a second, 4 clients": {
            name: statistics.median(found[f"throughput {name}"] for found in rounds) for name in ("in process", "grpc")
        },
        "server_mb": [found["server_mb"] for found in rounds],
    }


def print_figures(figures: dict[str, Any]) -> None:
    """Print the ratios beside what is asked for, then times and memory."""
    task = figures["task"]
    print(f"{task['support'][0]} support and {task['query'][0]} query pictures of {task['support'][1:]}, {STEPS} steps")
    for name, found in figures["ratios"].items():
        print(f"  {name:44} {found['median']:.2f} ({found['least']:.2f}-{found['most']:.2f})  {ASKED.get(name, '')}")
    for name, found in figures["milliseconds"].items():
        print(f"  {name:14} p50 {found['p50']:.2f} ms, p95 {found['p95']:.2f} ms, p99 {found['p99']:.2f} ms")
    for name, rate in figures["calls a second, 4 clients"].items():
        print(f"  {rate:.1f} calls a second of 4 clients, {name}")
    peak = max(found["VmHWM"] for found in figures["server_mb"])
    print(f"  server: {figures['server_mb'][-1]['VmRSS']:.0f} MB in the end, {peak:.0f} MB at its peak")


if __name__ == "__main__":
    main()
