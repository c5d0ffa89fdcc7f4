"""How good is a map of a real region from a few labelled points, beside the classifiers that people use for it?

    python benchmarks/maryland.py --model DIR [--draws 20] [--json FILE] [--picture FILE]

The scene is `scene_maryland`: 9-band Landsat 8 of summer, 260x260 pixels, and six classes of very unequal size. A draw
takes 5, 10 and 20 points of each class (the 5 are among the 10, these among the 20). On the very same points

    adapted         the exported model maps the scene as `fewshot map` does: points in a GeoPackage, a GeoTIFF out
    logistic        scikit-learn's logistic regression on the standardised spectra of the nine bands
    forest          scikit-learn's random forest on the same spectra, 100 trees
    logistic, own   the logistic regression on the bands that the model reads, for what the bands alone explain

and all are compared with the labels of every pixel that was not drawn. A model reads Landsat's bands in the order of
its own card, with `--bands` saying which of the scene's nine these are.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.real_scenes import mean_and_interval  # noqa: E402 (the root must be on the path first)

Array = npt.NDArray[Any]

POINTS = (5, 10, 20)
BANDS = (1, 2, 3, 4, 5, 6, 7)
"""Coastal, blue, green, red, near infrared and two of short-wave infrared; not the two thermal ones."""

BASELINES = ("logistic", "forest")
METHODS = ("adapted", *BASELINES, "logistic, own")
METRICS = ("accuracy", "macro_f1")
CLASSES = {
    1: ("water", "#4278be"),
    2: ("tree canopy", "#346e3c"),
    3: ("low vegetation", "#a0c86e"),
    4: ("barren", "#caac8e"),
    5: ("impervious", "#be4646"),
    6: ("roads", "#69696e"),
}


class SceneError(Exception):
    """The scene or the model is not where it was said to be."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The scene and what is known of it.

    Attributes:
        scene: The nine bands.
        spectra: [H, W, 9] float32, digital numbers.
        labels: [H, W] uint8, number of the class.
        grid: Size and georeference.
    """

    scene: Path
    spectra: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    grid: Any


class Draw(NamedTuple):
    """Labelled points of one draw.

    Attributes:
        rows: [n] int64.
        columns: [n] int64.
        labels: [n] uint8, number of the class.
    """

    rows: Array
    columns: Array
    labels: Array


def main() -> None:
    """Read the scene, map it from each draw in each way, and print the table."""
    options = read_options()
    try:
        truth = read_truth(options.data)
        require_model(options.model)
    except SceneError as error:
        raise SystemExit(str(error)) from None
    with tempfile.TemporaryDirectory() as folder:
        mapper = Mapper(options.model, truth, Path(folder), bands=options.bands, steps=options.steps)
        scores = measure(mapper, truth, draws=options.draws, points=options.points)
        if options.picture:
            draw_picture(options.picture, mapper, truth, draw_points(truth.labels, options.points[-1], seed=0))
    figures = summarise(scores)
    print("\n".join(table(figures, draws=options.draws)))
    if options.json:
        said = {"model": str(options.model), "bands": options.bands, "steps": options.steps, "draws": options.draws}
        said |= {"figures": figures, "scores": {str(each): found for each, found in scores.items()}}
        options.json.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    data = Path(os.environ.get("FEWSHOT_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model, or of its versions")
    parser.add_argument(
        "--data", type=Path, default=data, help="folder that holds scene_maryland (default: %(default)s)"
    )
    parser.add_argument("--draws", type=int, default=20, help="draws of points; draw i has seed i (default: 20)")
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS), help="a class (default: 5 10 20)")
    parser.add_argument("--bands", type=int, nargs="+", default=list(BANDS), help="the model's, among the nine")
    parser.add_argument("--steps", type=int, help="inner steps (default: the model's own number)")
    parser.add_argument("--json", type=Path, help="write the figures of every draw to this file")
    parser.add_argument("--picture", type=Path, help="draw the scene, its labels and the maps of draw 0, most points")
    return parser.parse_args()


def read_truth(data: Path) -> Truth:
    """Read the scene and its labels.

    Raises:
        SceneError: if they are not there.
    """
    import rasterio

    from fewshot.geo.grid import Grid

    folder = data / "scene_maryland"
    scene, labels = folder / "landsat_leaf_on.tif", folder / "landcover.tif"
    for path in (scene, labels):
        if not path.is_file():
            raise SceneError(f"there is no {path}; name the folder that holds scene_maryland with --data")
    with rasterio.open(scene) as raster, rasterio.open(labels) as classes:
        spectra = np.moveaxis(raster.read(), 0, -1).astype(np.float32)
        grid = Grid(raster.height, raster.width, raster.transform, raster.crs)
        return Truth(scene, spectra, classes.read(1), grid)


def require_model(model: Path) -> None:
    """Refuse a folder that is none.

    Raises:
        SceneError: if there is no such folder.
    """
    if not model.is_dir():
        raise SceneError(
            f"there is no folder {model}; train a model with `fewshot train synthetic-points` and export it with "
            "`fewshot export runs/synthetic-points-proto-maml --to models`"
        )


def draw_points(labels: Array, each: int, *, seed: int) -> Draw:
    """Draw pixels of every class; those of a smaller draw of the same seed are among them.

    Args:
        labels: [H, W] number of the class.
        each: Points of a class.
        seed: Of the draw.
    """
    parts = []
    for value in np.unique(labels).tolist():
        places = np.argwhere(labels == value)
        parts.append(places[np.random.default_rng([seed, value]).permutation(len(places))[:each]])
    rows, columns = np.concatenate(parts).T
    return Draw(rows, columns, labels[rows, columns])


class Mapper:
    """Maps the scene from labelled points, as `fewshot map` does, with one model in this process."""

    def __init__(
        self, model: Path, truth: Truth, folder: Path, *, bands: list[int] | None = None, steps: int | None = None
    ) -> None:
        """Load the model and write the table of classes.

        Args:
            model: Exported.
            truth: The scene.
            folder: For labels and maps.
            bands: The model's, by their number in the scene.
            steps: Inner steps; the model's own number if None.
        """
        from fewshot.exported.predictor import LocalPredictor
        from fewshot.mapping.predict.pipeline import run_here

        self.bands, self._truth, self._folder, self._steps = list(bands or BANDS), truth, folder, steps
        self._predictor = LocalPredictor(model.resolve())
        self._engine = run_here(self._predictor)
        self._classes = folder / "classes.csv"
        with self._classes.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "name", "colour"))
            writer.writerows((value, name, colour) for value, (name, colour) in CLASSES.items())

    def __call__(self, points: Draw) -> Array:
        """Map the scene; return the number of the class of every pixel [H, W]."""
        import rasterio

        from fewshot.mapping.region_map import map_region
        from fewshot.mapping.request import MapRequest
        from fewshot.mapping.support.examples import LabelPlan

        labels, to = self._folder / "points.gpkg", self._folder / "map.tif"
        write_points(labels, points, self._truth.grid)
        # The neighbour of a pixel of 25 m is often of another class, so a point labels no more than its own.
        plan = LabelPlan(labels, field="class", radius=0)
        scene, bands = (str(self._truth.scene),), tuple(self.bands)
        request = MapRequest(scene, to, plan, classes=self._classes, bands=bands, steps=self._steps)
        map_region(self._predictor, self._engine, request)
        with rasterio.open(to) as raster:
            return np.asarray(raster.read(1))


def write_points(path: Path, points: Draw, grid: Any) -> None:
    """Write points as a GeoPackage, at the middle of their pixels, with the names of their classes."""
    import geopandas
    import shapely

    x, y = grid.to_map(points.rows + 0.5, points.columns + 0.5)
    names = [CLASSES[value][0] for value in points.labels.tolist()]
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"class": names}, geometry=shapely.points(x, y), crs=grid.crs).to_file(path)


def map_by_spectra(method: str, spectra: Array, points: Draw) -> Array:
    """Classify every pixel by its spectrum alone.

    Args:
        method: "logistic" or "forest".
        spectra: [H, W, bands].
        points: To learn from.

    Returns:
        [H, W] number of the class.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if method == "forest":
        model: Any = RandomForestClassifier(100, random_state=0)
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(spectra[points.rows, points.columns], points.labels)
    return np.asarray(model.predict(spectra.reshape(-1, spectra.shape[-1])).reshape(spectra.shape[:2]))


def make_maps(mapper: Mapper, truth: Truth, points: Draw) -> dict[str, Array]:
    """Map the scene from the same points in each way."""
    own = truth.spectra[..., np.array(mapper.bands) - 1]
    return {
        "adapted": mapper(points),
        **{method: map_by_spectra(method, truth.spectra, points) for method in BASELINES},
        "logistic, own": map_by_spectra("logistic", own, points),
    }


def score(found: Array, labels: Array, points: Draw) -> dict[str, float]:
    """Compare a map with the labels of all pixels that were not drawn.

    Args:
        found: [H, W] number of the class.
        labels: [H, W] likewise.
        points: That were drawn.

    Returns:
        Accuracy, and F1 averaged over the classes.
    """
    from sklearn.metrics import f1_score

    rest = np.ones(labels.shape, bool)
    rest[points.rows, points.columns] = False
    true, said = labels[rest], found[rest]
    f1 = f1_score(true, said, average="macro", labels=sorted(CLASSES), zero_division=0)
    return {"accuracy": float((true == said).mean()), "macro_f1": float(f1)}


def measure(mapper: Mapper, truth: Truth, *, draws: int, points: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the scores of every method, by points a class and draw."""
    found: dict[int, list[dict[str, Any]]] = {each: [] for each in points}
    for seed in range(draws):
        for each in points:
            drawn = draw_points(truth.labels, each, seed=seed)
            maps = make_maps(mapper, truth, drawn)
            found[each].append({method: score(map_, truth.labels, drawn) for method, map_ in maps.items()})
        print(f"draw {seed + 1} of {draws}", file=sys.stderr)
    return found


def summarise(scores: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return mean and interval of each method, and of the adapted model minus the better baseline, draw by draw.

    The better baseline is the one of the greater mean over all draws, for each metric and number of points.
    """
    figures: dict[str, Any] = {}
    for each, draws in scores.items():
        figures[str(each)] = {}
        for metric in METRICS:
            values = {method: np.array([draw[method][metric] for draw in draws]) for method in METHODS}
            better = max(BASELINES, key=lambda method: values[method].mean())
            rows = {method: mean_and_interval(found) for method, found in values.items()}
            rows["adapted - better"] = mean_and_interval(values["adapted"] - values[better]) | {"better": better}
            figures[str(each)][metric] = rows
    return figures


def table(figures: dict[str, Any], *, draws: int) -> list[str]:
    """Return the figures as a Markdown table, in percent."""

    def shown(row: dict[str, Any], sign: str = "") -> str:
        mean = f"{100 * row['mean']:{sign}.1f}"
        return mean if row["ci95"] is None else f"{mean} ± {100 * row['ci95']:.1f}"

    head = ("points a class", "figure", *METHODS, "adapted - better baseline")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for each, metrics in figures.items():
        for metric, rows in metrics.items():
            last = rows["adapted - better"]
            cells = [each, metric.replace("_", " "), *(shown(rows[method]) for method in METHODS)]
            lines.append(f"| {' | '.join(cells)} | {shown(last, '+')} ({last['better']}) |")
    return [*lines, "", f"Percent; ± is the half width of a 95 % interval (Student's t) over {draws} draws."]


def draw_picture(path: Path, mapper: Mapper, truth: Truth, points: Draw) -> None:
    """Draw the scene in natural colour, its labels, and three maps of it from the same points."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    maps = make_maps(mapper, truth, points)
    each = np.bincount(points.labels).max()
    panels = {
        "Landsat 8, natural colour": natural_colour(truth.spectra[..., [3, 2, 1]]),
        "Reference": coloured(truth.labels),
        f"Adapted model, {named(score(maps['adapted'], truth.labels, points))}": coloured(maps["adapted"]),
        f"Random forest, {named(score(maps['forest'], truth.labels, points))}": coloured(maps["forest"]),
        f"Logistic regression, {named(score(maps['logistic'], truth.labels, points))}": coloured(maps["logistic"]),
    }
    aspect = abs(truth.grid.transform.e / truth.grid.transform.a)
    figure = Figure(figsize=(15, 4.3), layout="constrained", dpi=100)
    for axes, (title, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, interpolation="nearest", aspect=aspect)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.axes[1].scatter(points.columns, points.rows, s=9, c="white", edgecolors="black", linewidths=0.6)
    handles = [Patch(facecolor=colour, label=name) for name, colour in CLASSES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CLASSES), frameon=False, fontsize=10)
    figure.suptitle(f"{each} labelled points a class (white dots on the reference)", fontsize=11)
    figure.savefig(path)


def named(scores: dict[str, float]) -> str:
    """Return the accuracy of a map for its title."""
    return f"{100 * scores['accuracy']:.0f} %, F1 {scores['macro_f1']:.2f}"


def natural_colour(rgb: Array) -> Array:
    """Stretch three bands [H, W, 3] for the eye, each between its 1st and 99th percentile."""
    low, high = np.percentile(rgb, [1, 99], axis=(0, 1))
    return np.clip((rgb - low) / (high - low), 0, 1) ** 0.8


def coloured(classes: Array) -> Array:
    """Return the colours [H, W, 3] uint8 of a class raster."""
    lookup = np.zeros((256, 3), np.uint8)
    for value, (_, colour) in CLASSES.items():
        lookup[value] = tuple(bytes.fromhex(colour[1:]))
    return lookup[classes]


if __name__ == "__main__":
    main()
