"""What is said of a finished map: the remarks in its files, and `map.json`."""

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.assessment.accuracy import ClassAccuracy, MapAccuracy
from fewshot.exported.card import Card
from fewshot.geo.landcover import ClassTable
from fewshot.geo.scene import Scene
from fewshot.html import html_lines, html_picture, html_table
from fewshot.mapping.applicable.reach import Reach
from fewshot.mapping.compare.confusion import confusion_lines
from fewshot.mapping.compare.table import Comparison
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.product.files import Outputs
from fewshot.mapping.product.outputs import Summary
from fewshot.mapping.reading import Reading
from fewshot.mapping.support.examples import UsedLabels


@dataclass(frozen=True, eq=False)
class MapReport:
    """What became of a map.

    Attributes:
        files: Written, the map last.
        table: Its classes.
        shares: Of the mapped area, by class.
        support_loss: Before the first inner step and after the last.
        accuracy: Where there were labels to validate with.
        notes: Remarks on the labels and the scene.
        seconds: It took.
        comparison: Of methods, where it was asked for.
        steps: Inner steps taken, where the model says.
        reach: Where the map holds, where that was asked for.
        suggested: How many places to label next were named.
        caveat: What the intervals of the accuracy do not cover.
        confusion: [classes, classes] how often labelled pixels of a class (row), held out in turn, were taken for each
            class (column): as methods were compared, or as the method that maps holds some out by itself.
        adapted_before: Whether the model was adapted for another map.
    """

    files: tuple[Path, ...]
    table: ClassTable
    shares: Mapping[str, float]
    support_loss: tuple[float, float]
    accuracy: MapAccuracy | None
    notes: tuple[str, ...]
    seconds: float
    comparison: Comparison | None = None
    steps: int | None = None
    reach: Reach | None = None
    suggested: int = 0
    caveat: str = ""
    confusion: npt.NDArray[np.int32] | None = None
    adapted_before: bool = False

    def lines(self) -> Iterator[str]:
        """Say the same in words."""
        yield from self.notes
        if self.comparison is not None:
            yield from self.comparison.lines()
        if self.confusion is not None:
            yield from confusion_lines(self.confusion, self.table.names, before=self.adapted_before)
        before, after = self.support_loss
        taken = f" {self.steps} inner steps" if self.steps is not None else ""
        yield f"Support loss {before:.3f} before adaptation, {after:.3f} after{taken}."
        shares = sorted(self.shares.items(), key=lambda item: -item[1])
        yield "Shares of the map: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares)
        if self.accuracy is not None:
            adjusted = self.accuracy.adjusted
            weighted = f"{100 * adjusted.value:.1f} ± {100 * (adjusted.ci95 or 0):.1f}" if adjusted.value else "unknown"
            yield (
                f"Accuracy {100 * self.accuracy.overall:.1f} % on {sum(map(sum, self.accuracy.confusion))} labels that "
                f"the model was not shown, {weighted} % weighted by area; macro F1 {self.accuracy.macro_f1:.3f}."
            )
            yield self.caveat
        if self.reach is not None:
            yield from self.reach.lines()
        if self.suggested:
            where = Outputs(self.files[-1]).suggested
            yield f"{self.suggested} places to label next, with the reason: {where}; fill in the field 'class'."

    def _repr_html_(self) -> str:
        """Show itself in a notebook: the classes, the picture, and what is to be said."""
        accuracies = {entry.name: entry for entry in self.accuracy.classes} if self.accuracy else {}
        heads = ("Class", "Share of the map", *(("User's accuracy", "Producer's accuracy") if accuracies else ()))
        rows = [
            (name, f"{100 * share:.1f} %", *(_accuracies(accuracies[name]) if accuracies else ()))
            for name, share in self.shares.items()
        ]
        pictures = [path for path in self.files if path == Outputs(self.files[-1]).picture and path.exists()]
        shown = [html_picture(path.read_bytes(), f"the map {self.files[-1].name}") for path in pictures]
        return "".join((html_table(str(self.files[-1]), heads, rows), *shown, html_lines(list(self.lines()))))


def _accuracies(entry: ClassAccuracy) -> tuple[str, str]:
    """Write user's and producer's accuracy of a class."""
    return entry.users.percent(), entry.producers.percent()


def _resolution(plan: MapPlan) -> str:
    """Say how fine the map really is."""
    layout, grid = plan.layout, plan.scene.grid
    unit = "pixels" if grid.crs is None else "m"

    def size(pixels: int) -> str:
        down, across = (side * pixels for side in grid.pixel_sides())
        return f"{down:.3g} x {across:.3g} {unit}"

    if layout.per_pixel:
        return f"every pixel has its own answer: {size(1)}"
    return (
        f"one answer every {layout.stride} pixels ({size(layout.stride)}), each from a patch of "
        f"{layout.picture} pixels ({size(layout.picture)})"
    )


def map_tags(plan: MapPlan, card: Card) -> dict[str, str]:
    """Return the remarks that the rasters carry."""
    return {
        "SOFTWARE": f"fewshot {installed('fewshot')}",
        "MODEL": card.title,
        "SCENE": ", ".join(part.source for part in plan.scene.parts[:8]),
        "RESOLUTION": _resolution(plan),
    }


def scene_notes(scene: Scene, card: Card, reading: Reading) -> tuple[str, ...]:
    """Return remarks on how the scene was read.

    Args:
        scene: That was read.
        card: Of the model.
        reading: What the user said of the scene.
    """
    notes, product = [], scene.info.product
    if card.unit_free:
        notes.append(
            f"{scene.info.path}: numbers are sent to the model as they are stored; it standardises bands by the "
            "labelled windows, so that their unit does not matter."
        )
    elif product is not None and reading.factor is None:
        scale, offset = product
        notes.append(
            f"{scene.info.path} is of a product whose numbers times {scale:g} plus {offset:g} are reflectance; if "
            "that is done already, say so with --scale."
        )
    if scene.match.how == "order":
        notes.append(f"{scene.info.path} describes no band; they were taken in the order of the file.")
    if scene.grid.crs is None:
        notes.append(f"{scene.info.path} names no CRS, so neither does the map; areas are in pixels.")
    return tuple(notes)


def describe_map(plan: MapPlan, card: Card, labels: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    """Return what `map.json` says of a map, apart from its accuracy and the time it took.

    Args:
        plan: Of the map.
        card: Of the model.
        labels: As `describe_labels` has them.
        summary: Of the map.
    """
    model, scene = plan.model, plan.scene
    total = float(summary.areas.sum())
    return {
        "fewshot_map": 1,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "scene": {
            "files": scene.files(),
            "rows": scene.grid.height,
            "columns": scene.grid.width,
            "crs": scene.grid.crs.to_string() if scene.grid.crs else None,
            "bands": {band.name: number for band, number in zip(scene.match.bands, scene.match.numbers, strict=True)},
            "bands_found_by": scene.match.how,
            **scene.describe(),
        },
        "bands": scene.match.describe(),
        "classes": [
            {
                **{"value": value, "name": entry.name, "pixels": int(count), "share": float(area / total)},
                "area_m2" if scene.grid.crs is not None else "area_pixels": float(area),
                "colour": f"#{bytes(entry.colour or (0, 0, 0)).hex()}",
            }
            for (value, entry), count, area in zip(model.classes.items(), summary.pixels, summary.areas, strict=True)
        ],
        "nodata": {"value": plan.nodata, "pixels": summary.nodata},
        "resolution": _resolution(plan),
        "windows": plan.layout.describe(),
        "labels": labels,
        "support_loss": dict(zip(("before", "after"), model.adapted.support_loss, strict=True)),
        "model": json.loads(card.to_json()),
        "versions": {"python": platform.python_version(), "fewshot": installed("fewshot"), "numpy": np.__version__},
    }


def describe_labels(used: UsedLabels, names: tuple[str, ...]) -> dict[str, Any]:
    """Return which labels were used, and what became of the others; `names` are those of the classes."""
    plan, summary = used.plan, used.summary
    shown = dict(zip(names, used.examples.counts(len(names)), strict=True))
    found: dict[str, Any] = {"file": str(plan.path), "support": shown, "found": dict(summary.examples)}
    found |= {
        **{"features": summary.features, "outside": summary.outside, "unusable": summary.unusable},
        **{"ignored": summary.ignored, "on_nodata": summary.on_nodata, "contradicting": summary.contradicting},
        "only_one_example_of": list(summary.lone),
    }
    if used.split is not None:
        kept = dict(zip(names, used.split.validation.counts(len(names)), strict=True))
        found["kept_back"] = {"examples": kept, "too_near": used.split.near, "apart_pixels": used.split.apart}
    elif plan.validation is not None:
        found["validation"] = str(plan.validation)
    return found
