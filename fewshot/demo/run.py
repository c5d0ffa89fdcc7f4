"""The demo, top to bottom: learn waves, learn land cover, serve what was learned, map a region with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from fewshot import evaluate, read_recipe, train
from fewshot.demo.learning import MAPPER_SETTINGS, SINE_SETTINGS, draw_demo, write_small_earth
from fewshot.demo.mapping import demo_map
from fewshot.demo.serving import ask_server
from fewshot.exported import LocalPredictor
from fewshot.training import Request, print_report, write_report
from serving import export


def run_demo(out: Path) -> None:
    """Train, evaluate, serve and map on data that the program makes itself, in four to five minutes.

    Args:
        out: Folder for the runs, the models, the map and two pictures.
    """
    console = Console()
    sine, land, mapper, models = out / "sine", out / "land-cover", out / "mapper", out / "models"
    for run in (sine, land):
        shutil.rmtree(run, ignore_errors=True)

    console.print("[bold]1. Sine waves[/bold]: learn to fit a new wave from ten points in one step")
    train(read_recipe("sine-10shot", learner="meta-sgd", settings=SINE_SETTINGS), [], sine, verbose=2)
    print_report(evaluate(sine, [], Request(tasks=200, steps=(0, 1, 2))))

    console.print("[bold]2. Land cover (simulated)[/bold]: two labelled patches a class in a region never seen")
    train(read_recipe("demo"), [], land, verbose=2)
    cover = evaluate(land, [], Request(tasks=120, steps=(0, 1, 3)), baselines=True, baseline_minutes=0.15)
    print_report(cover)
    written, picture = write_report(cover, out / "report"), draw_demo(sine, land, cover, out / "demo.png")
    console.print(f"Report: {written}\nPicture: {picture}", soft_wrap=True)

    console.print("[bold]3. Serving[/bold]: the support examples travel with the request, and the model adapts to them")
    version = export(land, models)
    for line in ask_server(land, version, out / "serve.log"):
        console.print(line)
    console.print(f"Exported: {version}\nServe it yourself: fewshot serve {models}", soft_wrap=True)

    print("4. Mapping: a simulated region that no model has seen, from a few labelled points")
    earth = write_small_earth(out / "earth")
    shutil.rmtree(mapper, ignore_errors=True)
    train(
        read_recipe("synthetic-segmentation", learner="proto-maml", settings=MAPPER_SETTINGS),
        [earth],
        mapper,
        verbose=2,
    )
    report, picture = demo_map(LocalPredictor(export(mapper, models)), out)
    print(*report.lines(), f"Map: {report.files[-1]}", f"Picture: {picture}", sep="\n")
