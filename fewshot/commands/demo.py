"""`fewshot demo`."""

from __future__ import annotations

from pathlib import Path

import click

from fewshot.commands.options import FILE


@click.command("demo")
@click.option("--out", type=FILE, default=Path("demo"), show_default=True, help="Folder for it.")
def command(out: Path) -> None:
    """Train, evaluate, serve and map on data the program makes itself, in four to five minutes."""
    from fewshot.demo.learning import run_demo, train_mapper
    from fewshot.demo.mapping import demo_map
    from fewshot.demo.serving import demo_serving
    from fewshot.exported.predictor import LocalPredictor
    from serving.graph.export import export

    run_demo(out)
    demo_serving(out)
    click.echo("4. Mapping: a simulated region that no model has seen, from a few labelled points")
    version = export(train_mapper(out), out / "models")
    report, picture = demo_map(LocalPredictor(version), out)
    for line in report.lines():
        click.echo(line)
    click.echo(f"Map: {report.files[-1]}\nPicture: {picture}")
