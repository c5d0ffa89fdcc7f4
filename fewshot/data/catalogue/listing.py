"""The manifests and what became of them, printed for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fewshot.data.catalogue.fetch import Fetched
from fewshot.data.catalogue.manifest import NOT_PUBLISHED, LabelClass, Manifest, manifest_names, read_manifest
from fewshot.data.catalogue.verify import Verification


def print_manifests() -> None:
    """Print the data sets that the program knows, and how to get each."""
    table = Table()
    for column in ("name", "title", "licence", "size", "how to get it"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for name in manifest_names():
        manifest = read_manifest(name)
        table.add_row(name, manifest.title, manifest.licence, size_of(manifest), how_to_get(manifest))
    Console().print(table)


def size_of(manifest: Manifest) -> str:
    """Return the size of a data set in words."""
    sizes = [file.size for file in manifest.files]
    known = sum(size for size in sizes if size is not None)
    if manifest.size != NOT_PUBLISHED or not known:
        return manifest.size
    lacking = sizes.count(None)
    return f"{known / 1e6:,.1f} MB" + (f", and {lacking} files whose size is {NOT_PUBLISHED}" if lacking else "")


def how_to_get(manifest: Manifest) -> str:
    """Return the command that brings a data set here, or says how to."""
    if manifest.simulated:
        return manifest.made_by
    command = f"fewshot data fetch {manifest.name} --to DIR"
    return f"by hand; {command} says how" if manifest.manual else command


def print_manifest(manifest: Manifest) -> None:
    """Print all facts of a data set."""
    console = Console(highlight=False)
    facts = {
        "licence": manifest.licence,
        "citation": manifest.citation,
        "homepage": manifest.homepage,
        "image": manifest.image,
        "size": size_of(manifest),
        "samples": f"{manifest.samples:,}" if manifest.samples else "",
        "how to get it": how_to_get(manifest),
        "layout": manifest.layout.describes,
        "file names": manifest.layout.pattern,
        "damaged": ", ".join(manifest.damaged),
    }
    console.print(Text(f"{manifest.name}: {manifest.title}", style="bold"))
    if manifest.simulated:
        console.print(Text("SIMULATED: nothing found on it holds for the Earth.", style="bold red"))
    for name, value in facts.items():
        if value:
            console.print(f"{name}: {value}", markup=False, soft_wrap=True)
    for remark in manifest.remarks:
        console.print(f"- {remark}", markup=False, soft_wrap=True)
    for file in manifest.files:
        algorithm, digits = file.digest or ("checksum", NOT_PUBLISHED)
        size = f"size {NOT_PUBLISHED}" if file.size is None else f"{file.size:,} bytes"
        console.print(f"{file.path}: {size}, {algorithm} {digits}, {file.holds}", markup=False, soft_wrap=True)
    for table in filter(None, (_bands(manifest), _classes(manifest.classes))):
        console.print(table)
    _print_ids(console, "split", manifest.splits)
    _print_ids(console, "hold-out scenes", manifest.holdout)
    if manifest.manual:
        console.print(f"By hand:\n{manifest.manual.rstrip()}", markup=False, soft_wrap=True)


def _bands(manifest: Manifest) -> Table | None:
    rows = []
    for band in manifest.bands:
        wavelength = "" if band.wavelength is None else f"{band.wavelength:g}"
        stored = f"{band.stored} x {band.scale:.6g}" + (f" + {band.offset:g}" if band.offset else "")
        nodata = "as the file says" if band.nodata is None else f"{band.nodata:g}"
        rows.append((band.name, wavelength, stored, band.unit, nodata, band.sensor))
    head = ("band", "nm", "stored x scale", "unit", "nodata", "sensor")
    return _table("bands", head, rows)


def _classes(classes: Sequence[LabelClass]) -> Table | None:
    rows = []
    for entry in classes:
        colour = Text()
        if entry.colour:
            colour.append("   ", style="on rgb({},{},{})".format(*entry.colour))
            colour.append(" #{:02x}{:02x}{:02x}".format(*entry.colour))
        share = "" if entry.share is None else f"{entry.share:g} %"
        rows.append((entry.name, ", ".join(map(str, entry.ids)), colour, share, "ignored" if entry.ignored else ""))
    return _table("classes", ("class", "ids in label rasters", "colour", "share", ""), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table | None:
    """Return a table without the columns that are empty, None if there is no row."""
    if not rows:
        return None
    table = Table(title=title, title_justify="left")
    kept = [number for number in range(len(head)) if any(str(row[number]) for row in rows)]
    for number in kept:
        table.add_column(head[number], overflow="fold")
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    return table


def _print_ids(console: Console, what: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Print named lists of region ids."""
    for name, ids in parts.items():
        console.print(f"{what}, {name} ({len(ids)}): {' '.join(ids)}", markup=False, soft_wrap=True)


def print_fetched(manifest: Manifest, fetched: Sequence[Fetched], folder: Path) -> None:
    """Print what became of every file.

    Args:
        manifest: Of the data set.
        fetched: Its files.
        folder: Where they are.
    """
    console = Console(highlight=False)
    for one in fetched:
        console.print(f"{one.path}: {one.outcome}, {one.checked}", markup=False, soft_wrap=True)
    what = f"{len(fetched)} files" if fetched else "the data"
    console.print(f"{manifest.title}: {what} in {folder}. Licence: {manifest.licence}.", markup=False, soft_wrap=True)


def print_verification(manifest: Manifest, found: Verification) -> None:
    """Print what was checked, what was not, and every problem."""
    console = Console(highlight=False)
    if manifest.simulated:
        console.print("SIMULATED data.")
    if found.regions:
        listed = ", ".join(f"{region} {count}" for region, count in sorted(found.regions.items()))
        console.print(f"Samples by region: {listed}.", markup=False, soft_wrap=True)
    for line in found.checked:
        console.print(f"Checked: {line}.", markup=False, soft_wrap=True)
    for line in found.unchecked:
        console.print(f"Not checked: {line}.", markup=False, soft_wrap=True)
    for problem in found.problems:
        console.print(str(problem), markup=False, soft_wrap=True)
    verdict = f"{len(found.problems)} problems." if found.problems else "No problem found."
    console.print(f"{manifest.title}: {verdict}", markup=False, soft_wrap=True)
