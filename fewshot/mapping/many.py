"""Maps many regions, each adapted to its own labels; one that fails does not stop the others."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewshot.errors import ArtifactError, DataNotFoundError, FewshotError, ManifestError
from fewshot.geo.names import from_folder
from fewshot.geo.products import split_date
from fewshot.mapping.predict.checkpoint import Checkpoint
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan

COLUMNS = ("name", "scene", "labels")
"""Columns that a list of regions has."""
MAY_HAVE = ("bands", "sensor", "label_field", "validation", "classes")
"""Columns that may be left out."""
ROW = ("region", "state", "classes", "support_loss", "accuracy", "area_adjusted", "seconds", "message")
"""Columns of the summary."""


@dataclass(frozen=True)
class RegionResult:
    """What became of one region.

    Attributes:
        state: "mapped", "failed" or "skipped".
        report: Of its map, where it was mapped now.
        message: Why it was not.
    """

    name: str
    state: str
    report: MapReport | None = None
    message: str = ""

    def row(self) -> dict[str, str]:
        """Return a row of the summary table."""
        if self.report is None:
            return {"region": self.name, "state": self.state, "message": self.message}
        accuracy = self.report.accuracy
        adjusted = accuracy.adjusted.value if accuracy else None
        before, after = self.report.support_loss
        return {
            "region": self.name,
            "state": self.state,
            "classes": str(len(self.report.table.names)),
            "support_loss": f"{before:.3f} to {after:.3f}",
            "accuracy": f"{accuracy.overall:.3f}" if accuracy else "",
            "area_adjusted": f"{adjusted:.3f}" if adjusted is not None else "",
            "seconds": f"{self.report.seconds:.1f}",
            "message": " ".join(self.report.notes),
        }


def read_regions(path: Path, to: Path, common: MapRequest) -> list[tuple[str, MapRequest]]:
    """Read a list of regions: a CSV with the columns name, scene, labels, and any of `MAY_HAVE`.

    Args:
        path: Of the CSV; files in it are named from its folder. A scene of several files separates them by `;`.
        to: Folder; each region is mapped to `to/NAME/map.tif`.
        common: What all regions share.

    Raises:
        DataNotFoundError: if there is no such file.
        ManifestError: if it lacks a column or a value, or two regions have one name.
    """
    if not path.is_file():
        raise DataNotFoundError(f"there is no list of regions {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            read = list(table)
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in read]
            long = [number for number, row in enumerate(read, start=2) if None in row]
            found = [name for name in table.fieldnames or () if name]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} cannot be read as CSV: {error}") from error
    wrong = [name for name in COLUMNS if name not in found] + [n for n in found if n not in (*COLUMNS, *MAY_HAVE)]
    if wrong or not rows:
        raise ManifestError(
            f"{path} has the columns {', '.join(found) or 'none'} and {len(rows)} regions; expected "
            f"{', '.join(COLUMNS)}, and if wanted {', '.join(MAY_HAVE)}"
        )
    for number, row in enumerate(rows, start=2):
        empty = [name for name in COLUMNS if not row[name]]
        if empty or number in long:
            what = f"no {' and no '.join(empty)}" if empty else "more cells than the table has columns"
            raise ManifestError(f"{path}, line {number}: {what}; expected one cell a column ({', '.join(found)})")
    names = [row["name"] for row in rows]
    for name in names:
        if not name or name in (".", "..") or "/" in name or names.count(name) > 1:
            raise ManifestError(f"{path}: {name!r} cannot name a region; expected a folder's name, each once")
    return [(row["name"], _request(row, path.parent, to, common)) for row in rows]


def _request(row: dict[str, str], folder: Path, to: Path, common: MapRequest) -> MapRequest:
    """Return the request of one region."""
    if common.labels is None:
        raise ManifestError("regions are mapped with labels of their own")
    dated = [split_date(part.strip()) for part in row["scene"].split(";") if part.strip()]
    scenes = tuple(f"{date}={from_folder(name, folder)}" if date else from_folder(name, folder) for date, name in dated)
    named = row.get("bands", "").replace(";", ",")
    labels: LabelPlan = replace(
        common.labels,
        path=folder / row["labels"],
        field=row.get("label_field") or common.labels.field,
        validation=folder / row["validation"] if row.get("validation") else None,
        holdout=0.0 if row.get("validation") else common.labels.holdout,
    )
    return replace(
        common,
        scenes=scenes,
        to=to / row["name"] / common.to.name,
        labels=labels,
        bands=split_bands(named) or common.bands,
        sensor=row.get("sensor") or common.sensor,
        classes=folder / row["classes"] if row.get("classes") else common.classes,
    )


def split_bands(text: str) -> tuple[str | int, ...]:
    """Read band names or numbers separated by commas: all of one kind."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    return tuple(int(word) for word in words) if all(word.isdecimal() for word in words) else words


def map_many(
    regions: Sequence[tuple[str, MapRequest]], run: Callable[[MapRequest], MapReport]
) -> Iterator[RegionResult]:
    """Map one region after the other.

    Args:
        regions: Names and requests. With `resume`, regions whose map is there are not mapped again, interrupted ones
            go on, and the others begin.
        run: Maps a region.
    """
    for name, request in regions:
        try:
            report = map_unless_there(request, run)
        except FewshotError as error:
            yield RegionResult(name, "failed", message=str(error))
            continue
        if report is None:
            yield RegionResult(name, "skipped", message="its map is there already")
        else:
            yield RegionResult(name, "mapped", report)


def map_unless_there(request: MapRequest, run: Callable[[MapRequest], MapReport]) -> MapReport | None:
    """Map a region; with `resume`, go on with an interrupted map, begin one that is not there, and make none anew.

    Args:
        request: What to map.
        run: Maps it.

    Returns:
        The report; None where the map is there already.
    """
    interrupted = Checkpoint(request.to).path.is_dir()
    if request.resume and request.to.exists() and not interrupted:
        return None
    return run(replace(request, resume=request.resume and interrupted))


def write_table(path: Path, results: Sequence[RegionResult]) -> None:
    """Write the summary table as CSV; regions that were mapped before keep the figures they have in it.

    Raises:
        ArtifactError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _rows_before(path)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ROW, restval="")
            table.writeheader()
            for result in results:
                old = before.get(result.name, {}) if result.state == "skipped" else {}
                table.writerow(old | {key: value for key, value in result.row().items() if value})
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written: {error}") from error


def _rows_before(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a summary that was written before, by region; none of one that cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {row["region"]: {name: row[name] or "" for name in ROW} for row in rows if set(ROW) <= set(row)}


def table_lines(results: Sequence[RegionResult]) -> Iterator[str]:
    """Yield the summary table as text, its last column unaligned."""
    rows = [dict.fromkeys(ROW, "") | result.row() for result in results]
    table = [list(ROW), *([row[name] for name in ROW] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(ROW) - 1)]
    for line in table:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
