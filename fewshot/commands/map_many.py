"""`fewshot map-many`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewshot.commands.map import RegionOptions, map_request, opened_models
from fewshot.commands.options import FILE, MapOptions, options_as

if TYPE_CHECKING:
    from fewshot.mapping import MapReport, MapRequest


@click.command("map-many")
@click.argument("regions", type=FILE)
@click.option("--to", required=True, type=FILE, help="Folder: TO/NAME/map.tif for each region.")
@options_as(MapOptions)
def command(*, regions: Path, to: Path, options: MapOptions) -> None:
    """Map the regions listed in REGIONS, each with its own labels; one that fails does not stop the others.

    REGIONS is a CSV with the columns name, scene, labels, and if wanted bands, sensor, label_field, validation,
    classes.
    """
    from fewshot.mapping import map_many, read_regions, run_request, table_lines, write_table
    from fewshot.progress import progress_bar

    # What the regions share; each has a scene, labels and a map of its own.
    shared = RegionOptions((), regions, Path("map.tif"), validation=None, save_adapted=None, adapted=None)
    listed, results = read_regions(regions, to, map_request(shared, options)), []
    with opened_models(options) as (models, engine_of), progress_bar("Mapping", "regions") as show:

        def run(request: MapRequest) -> MapReport:
            return run_request(models, engine_of, request)

        for result in map_many(listed, run):
            results.append(result)
            show(len(results), len(listed))
    write_table(to / "summary.csv", results)
    for line in table_lines(results):
        click.echo(line)
    if any(result.state == "failed" for result in results):
        sys.exit(1)
