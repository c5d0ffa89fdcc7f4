"""`fewshot data`: the data sets that the program knows, and the simulated Earth."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fewshot.commands.options import FILE


@click.group("data")
def command() -> None:
    """List, fetch and verify the data sets that the program knows."""


files_option = click.option(
    "--file", "files", multiple=True, metavar="PATTERN", help="Only the files that match, such as '*small1.zip'."
)


@command.command("list")
def list_data() -> None:
    """List the data sets: licence, size, how to get them."""
    from fewshot.data import print_manifests

    print_manifests()


@command.command("show")
@click.argument("name")
def show_data(name: str) -> None:
    """Print all facts of the data set NAME (or of a manifest of your own, a TOML file)."""
    from fewshot.data import print_manifest, read_manifest

    print_manifest(read_manifest(name))


@command.command("fetch")
@click.argument("name")
@click.option("--to", "folder", required=True, type=FILE, help="Folder to put the files in.")
@files_option
def fetch_data(name: str, folder: Path, files: tuple[str, ...]) -> None:
    """Download the data set NAME; interrupted, the same command goes on."""
    from fewshot.data import fetch, print_fetched, read_manifest

    manifest = read_manifest(name)
    print_fetched(manifest, fetch(manifest, folder, only=files), folder)


@command.command("verify")
@click.argument("name")
@click.argument("folder", type=FILE)
@files_option
@click.option("--deep", is_flag=True, help="Read every image too, where no checksums are published.")
def verify_data(name: str, folder: Path, files: tuple[str, ...], *, deep: bool) -> None:
    """Name every missing, truncated or altered file of the data set NAME in FOLDER; exit code 1 if there is any."""
    from fewshot.data import print_verification, read_manifest, verify

    manifest = read_manifest(name)
    found = verify(manifest, folder, only=files, deep=deep)
    print_verification(manifest, found)
    if found.problems:
        sys.exit(1)


@command.command("simulate")
@click.option("--to", "folder", required=True, type=FILE, help="Folder to write.")
@click.option("--regions", default=24, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--patches", default=49, show_default=True, type=click.IntRange(1), help="256-pixel patches of a region.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the simulated Earth.")
def simulate_data(folder: Path, regions: int, patches: int, seed: int) -> None:
    """Write a simulated Earth in SEN12MS's layout; interrupted, the same command goes on."""
    from fewshot.data import write_earth
    from fewshot.progress import progress_bar

    with progress_bar("Simulating", "patches") as show:
        names = write_earth(folder, regions=regions, seed=seed, patches_per_region=patches, progress=show)
    click.echo(f"{folder}: {len(names)} SIMULATED regions of {patches} patches, in the layout of SEN12MS.")


@command.command("prepare")
@click.argument("name", type=click.Choice(["sen12ms", "synthetic"]))
@click.argument("folder", type=FILE)
@click.option("--to", type=FILE, help="Folder to write; FOLDER/prepared-WINDOW if not given.")
@click.option("--window", default=128, show_default=True, type=click.IntRange(1), help="Pixels of an image's side.")
@click.option("--cache", is_flag=True, help="Write the images too, so that training opens no GeoTIFF.")
@click.option("--skip-damaged", is_flag=True, help="Leave damaged patches out instead of stopping at the first.")
def prepare_data(name: str, folder: Path, *, to: Path | None, window: int, cache: bool, skip_damaged: bool) -> None:
    """Index the data set NAME in FOLDER, so that it opens at once; interrupted, the same command goes on."""
    from fewshot.data import PREPARED, Cut, prepare
    from fewshot.progress import progress_bar

    Cut(window)
    to = to or folder / PREPARED.format(window=window)
    with progress_bar(f"Preparing {name}", "regions") as show:
        made = prepare(
            folder, to, window=window, records=cache, on_damaged="skip" if skip_damaged else "raise", progress=show
        )
    windows = sum(len(index) for index in made.regions)
    click.echo(f"{to}: {windows} windows of {window} pixels in {len(made.regions)} regions.")
    for line in made.skipped:
        click.echo(f"left out: {line}")
