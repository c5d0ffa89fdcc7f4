"""The last part of the demo: a map of a SIMULATED region that no model has seen, from a few labelled points."""

import csv
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
from rasterio import Affine

from fewshot.data import SimulatedRegion, simulate_region
from fewshot.exported import Predictor
from fewshot.geo import IGBP, Grid, RasterReader, write_raster
from fewshot.mapping import LabelPlan, MapReport, MapRequest, map_scene, run_here

REGION = 17
"""Number of the region in the simulated world; the demo trains on regions before it, which are other places."""

SIDE = 512
POINTS = 15
"""Labelled points of each class."""

NATURAL = ("B4", "B3", "B2")


def demo_map(predictor: Predictor, out: Path, *, seed: int = 0) -> tuple[MapReport, Path]:
    """Map a simulated region from a few labelled points, and compare the map with what was simulated.

    Args:
        predictor: A segmentation model of reflectance.
        out: Folder of the demo; the scene, the labels and the map are written to `out/map`.
        seed: Decides which points are labelled.

    Returns:
        What the map says of itself, and the picture: scene, reference and map.
    """
    bands = tuple(band.name for band in predictor.card().bands)
    region = simulate_region(REGION, size=SIDE, bands=bands, radar=False)
    classes = simplified(region.classes)
    folder = out / "map"
    scene, truth, labels, table = (folder / name for name in ("scene.tif", "reference.tif", "labels.gpkg", "table.csv"))
    grid = Grid(SIDE, SIDE, Affine(*region.grid.transform), region.grid.crs)
    tags = {"SIMULATED": "by fewshot; no measurement is in it"}
    write_raster(scene, region.optical, grid, names=bands, tags=tags)
    write_raster(truth, classes, grid, nodata=0, tags=tags)
    rows, columns = draw_points(classes, np.random.default_rng(seed))
    _write_points(labels, classes[rows, columns], grid.to_map(rows + 0.5, columns + 0.5), grid)
    write_table(table, np.unique(classes[rows, columns]))
    plan = LabelPlan(labels, "class", validation=truth, apart=1)
    title = "SIMULATED region, no measurement"
    request = MapRequest((str(scene),), folder / "map.tif", plan, classes=table, title=title)
    report = map_scene(predictor, run_here(predictor), request)
    return report, _draw_demo_map(out / "demo_map.png", region, (rows, columns), report)


def simplified(igbp: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the numbers of the simplified classes, from 1, for IGBP's [H, W]."""
    numbers = np.zeros(256, np.uint8)
    for number, entry in enumerate(IGBP.classes, start=1):
        numbers[list(entry.ids)] = number
    return numbers[igbp]


def draw_points(
    classes: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and columns of `POINTS` pixels of each class [H, W], or of all where there are fewer."""
    places = []
    for value in np.unique(classes):
        found = np.argwhere(classes == value)
        places.append(found[rng.choice(len(found), min(POINTS, len(found)), replace=False)])
    rows, columns = np.concatenate(places).T
    return rows, columns


def _write_points(path: Path, labels: npt.NDArray[np.uint8], places: tuple[Any, Any], grid: Grid) -> None:
    """Write points at x and y with the names of their classes [n] to a GeoPackage, as a user would digitise them."""
    names = [IGBP.classes[number - 1].name for number in labels.tolist()]
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"class": names}, geometry=geopandas.points_from_xy(*places), crs=grid.crs).to_file(path)


def write_table(path: Path, numbers: npt.NDArray[np.uint8]) -> None:
    """Write the class table that goes with the points: number, name and colour."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "colour"])
        for number in numbers.tolist():
            entry = IGBP.classes[number - 1]
            rows.writerow([number, entry.name, f"#{bytes(entry.colour or (0, 0, 0)).hex()}"])


def _draw_demo_map(
    path: Path, region: SimulatedRegion, points: tuple[npt.NDArray[np.int64], ...], report: MapReport
) -> Path:
    """Draw the scene with its points (rows and columns), the reference and the map beside each other."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    mapped, _ = RasterReader().read(report.files[-1])
    reference = simplified(region.classes)
    colours = np.array([(255, 255, 255), *(entry.colour or (0, 0, 0) for entry in IGBP.classes)], np.uint8)
    figure = Figure(figsize=(11, 4.4), layout="constrained", dpi=110)
    axes = figure.subplots(1, 3)
    shown = (natural_colours(region), colours[reference], colours[mapped[..., 0]])
    accuracy = report.accuracy
    right = "" if accuracy is None else f": {100 * accuracy.overall:.0f} % of the pixels right"
    titles = (f"Scene, {len(points[0])} labelled points", "Reference (as simulated)", f"Map{right}")
    for one, image, title in zip(axes, shown, titles, strict=True):
        one.imshow(image, interpolation="nearest")
        one.set_title(title, loc="left", fontsize=10)
        one.set_axis_off()
    axes[0].scatter(points[1], points[0], s=9, c="white", edgecolors="black", linewidths=0.5)
    handles = [
        Patch(facecolor=colours[number] / 255, edgecolor="0.3", linewidth=0.4, label=IGBP.classes[number - 1].name)
        for number in np.unique(reference).tolist()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    figure.suptitle("A SIMULATED region that the model has not seen", fontsize=11, x=0.01, ha="left")
    figure.savefig(path)
    return path


def natural_colours(region: SimulatedRegion) -> npt.NDArray[np.float32]:
    """Return the scene [H, W, 3] as an eye would see it, 0-1."""
    image = region.optical[..., [region.bands.index(band) for band in NATURAL]].astype(np.float32)
    low, high = np.percentile(image, (1, 99), axis=(0, 1))
    return np.clip((image - low) / np.maximum(high - low, 1), 0, 1)
