"""How good are maps of real scenes from a few points, beside the classifiers that people use for it?

    python benchmarks/real_scenes.py [--model NAME] [--methods combined] [--scenes nc potsdam] [--draws 10]
                                     [--points 5 10 20] [--steps N] [--json FILE] [--picture FILE]

Labelled scenes of Landsat 5, 7 and 8, Sentinel-2 and EnMAP, in reflectance and in digital numbers (`scenes` and
`scene_maryland` of the data folder; not the MODIS series, whose crops no single date tells apart). The three scenes of
clouds name no CRS, as published; they are mapped from copies that name an invented one. A draw takes 5, 10 and 20
labelled pixels of each class (the 5 are among the 10, these among the 20). Where labels are polygons, points come from
half of a class's polygons and are tested on the others; elsewhere every labelled pixel that was not drawn is tested. On
the very same points

    METHOD      `fewshot map --model NAME --method METHOD`: points in a GeoPackage, a GeoTIFF out; several may be named
    logistic    scikit-learn's logistic regression on the standardised values of all bands of the scene
    forest      its random forest, 100 trees
    nearest     its nearest neighbour on standardised values
    boosting    its histogram gradient boosting, leaves of at least two samples
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.real_figures import draw_leads, leads, summarise, table, told_table  # noqa: E402 (the root must be on the path first)

Array = npt.NDArray[Any]

POINTS = (5, 10, 20)
MOST_TESTED = 20_000
"""Pixels that a draw is tested on at most, the same for every method."""


HeldOut = dict[int, tuple[float, float]]
"""Of each class how many labels that were held out were told right, and how many there were."""


class Place(NamedTuple):
    """Where one scene is, below the data folder.

    Attributes:
        scene: The raster.
        labels: A raster of the classes on the same grid; its nodata and 0 are no label.
        polygons: Vectors that the labels come from, where there are any.
        sensor: What `--sensor` says, where the bands are not described.
        bands: What `--bands` says.
        crs: Invented, where the scene names none.
    """

    scene: str
    labels: str
    polygons: str = ""
    sensor: str = ""
    bands: tuple[str, ...] = ()
    crs: str = ""


# Coastal, blue, green, red, near and short-wave infrared of Landsat 8; the two thermal bands are no bands of land.
_MARYLAND = ("B1", "B2", "B3", "B4", "B8A", "B11", "B12", "T1", "T2")
_NC = "scenes/nc_landsat7"
_CLOUDS, _ANYWHERE = "scenes/cloud_scenes", "EPSG:32633"
_PARA, _CHIAPAS, _BARVA = "scenes/rstoolbox_para_s2", "scenes/chiapas_landsat7", "scenes/barva_landsat5"
PLACES = {
    "maryland": Place("scene_maryland/landsat_leaf_on.tif", "scene_maryland/landcover.tif", bands=_MARYLAND),
    "nc": Place(f"{_NC}/scene.tif", f"{_NC}/labels_polygons.tif", f"{_NC}/labels_polygons.gpkg", sensor="landsat7"),
    "nc_dense": Place(f"{_NC}/scene.tif", f"{_NC}/landcover_1996.tif", sensor="landsat7"),
    "potsdam": Place("scenes/potsdam_enmap/scene_s2_bands.tif", "scenes/potsdam_enmap/labels.tif", sensor="sentinel2"),
    "chiapas": Place(f"{_CHIAPAS}/scene.tif", f"{_CHIAPAS}/labels.tif", f"{_CHIAPAS}/labels.gpkg", sensor="landsat7"),
    "para": Place(f"{_PARA}/scene.tif", f"{_PARA}/labels.tif", f"{_PARA}/labels.gpkg", sensor="sentinel2"),
    "barva": Place(f"{_BARVA}/scene_2001.tif", f"{_BARVA}/labels_2001.tif", f"{_BARVA}/plots.gpkg", sensor="landsat5"),
    "rondonia": Place("scenes/rondonia_landsat8/scene.tif", "scenes/rondonia_landsat8/labels.tif", sensor="landsat8"),
    "clouds_l5": Place(f"{_CLOUDS}/landsat5.tif", f"{_CLOUDS}/landsat5_labels.tif", crs=_ANYWHERE),
    "clouds_l7": Place(f"{_CLOUDS}/landsat7.tif", f"{_CLOUDS}/landsat7_labels.tif", crs=_ANYWHERE),
    "clouds_s2": Place(f"{_CLOUDS}/sentinel2.tif", f"{_CLOUDS}/sentinel2_labels.tif", crs=_ANYWHERE),
}


@dataclass(frozen=True, eq=False)
class Truth:
    """A scene and what is known of it.

    Attributes:
        place: Its files and bands.
        scene: The raster that is mapped.
        values: [H, W, bands] float32, as stored.
        labels: [H, W] number of the class, 0 for none.
        polygon: [H, W] number of the polygon, 0 for none; None where labels are no polygons.
        grid: Size and georeference.
    """

    place: Place
    scene: Path
    values: Array
    labels: Array
    polygon: Array | None
    grid: Any


class Draw(NamedTuple):
    """Labelled points of one draw, and what they are tested on.

    Attributes:
        rows: [n] int64.
        columns: [n] int64.
        labels: [n] number of the class.
        tested: [m, 2] rows and columns.
    """

    rows: Array
    columns: Array
    labels: Array
    tested: Array


def main() -> None:
    """Map every scene from each draw in each way, and print the tables."""
    options = read_options()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        maps = Mapper(options.model, Path(folder))
        for name in options.scenes:
            truth = read_truth(options.data, PLACES[name], Path(folder))
            for number, scores in enumerate(measure(maps, truth, options), start=1):
                print(f"{name}: draw {number} of {options.draws}", file=sys.stderr)
                found[name] = scores
                write_figures(options, found)
            print("\n".join(table(found[name], options.methods, title=name)), flush=True)
    figures = {name: summarise(scores, options.methods) for name, scores in found.items()}
    print("\n".join(leads(figures, options.methods, "- best")))
    print("\n".join(leads(figures, options.methods, "worst draw")))
    print("\n".join(told_table(found, options.methods)))
    if options.picture:
        draw_leads(options.picture, figures, options.methods)


def write_figures(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Write what is known so far, where it is wanted."""
    if options.json:
        figures = {name: summarise(scores, options.methods) for name, scores in found.items()}
        said = {"model": str(options.model), "methods": options.methods, "draws": options.draws, "steps": options.steps}
        said |= {"figures": figures, "scores": found}
        options.json.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    data = Path(os.environ.get("FEWSHOT_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="earth-points", help="a model, as for `fewshot map` (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=["combined"], help="of `fewshot map` (default: combined)")
    parser.add_argument("--scenes", nargs="+", choices=PLACES, default=list(PLACES), help="default: all")
    parser.add_argument("--data", type=Path, default=data, help="folder of the scenes (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=10, help="draws of points; draw i has seed i (default: 10)")
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS), help="a class (default: 5 10 20)")
    parser.add_argument("--steps", type=int, help="inner steps (default: what the points ask for)")
    parser.add_argument("--json", type=Path, help="write the figures of every draw to this file")
    parser.add_argument("--picture", type=Path, help="draw the leads over the best plain classifier to this file")
    return parser.parse_args()


def read_truth(data: Path, place: Place, folder: Path) -> Truth:
    """Read a scene and its labels; the copy of one without a CRS is written to the folder."""
    import geopandas
    import rasterio
    from rasterio.features import rasterize

    from fewshot.geo.grid import Grid

    if not (data / place.scene).is_file():
        raise SystemExit(f"there is no {data / place.scene}; name the folder of the scenes with --data")
    scene = with_crs(data / place.scene, folder, place.crs) if place.crs else data / place.scene
    with rasterio.open(scene) as raster, rasterio.open(data / place.labels) as classes:
        values = np.moveaxis(raster.read(), 0, -1).astype(np.float32)
        valid = (np.moveaxis(raster.read_masks(), 0, -1) > 0).all(axis=-1) & (values != 0).any(axis=-1)
        labels = classes.read(1).astype(np.int64)
        labels[~valid | (labels == (0 if classes.nodata is None else classes.nodata))] = 0
        grid = Grid(raster.height, raster.width, raster.transform, raster.crs)
    polygon = None
    if place.polygons:
        shapes = enumerate(geopandas.read_file(data / place.polygons).to_crs(grid.crs).geometry, start=1)
        polygon = rasterize(
            [(shape, number) for number, shape in shapes], labels.shape, transform=raster.transform, all_touched=True
        ).astype(np.int64)
    return Truth(place, scene, values, labels, polygon, grid)


def with_crs(scene: Path, folder: Path, crs: str) -> Path:
    """Copy a scene to a folder, and let it lie somewhere, in pixels of 30 m."""
    import rasterio

    copy = folder / scene.name
    shutil.copyfile(scene, copy)
    with rasterio.open(copy, "r+") as raster:
        raster.crs, raster.transform = crs, rasterio.Affine(30, 0, 500_000, 0, -30, 5_000_000)
    return copy


def draw_points(truth: Truth, each: int, *, seed: int) -> Draw:
    """Draw pixels of every class; those of a smaller draw of the same seed are among them.

    Where labels are polygons, a class's points lie in half of its polygons and the other half is tested; elsewhere at
    most half of a class's pixels are drawn.

    Args:
        truth: The scene.
        each: Points of a class.
        seed: Of the draw.
    """
    tested, parts = truth.labels > 0, []
    for value in np.unique(truth.labels[tested]).tolist():
        rng, own = np.random.default_rng([seed, value]), truth.labels == value
        numbers = np.unique(truth.polygon[own]) if truth.polygon is not None else np.zeros(0, np.int64)
        numbers = numbers[numbers > 0]
        if truth.polygon is not None and len(numbers) > 1:
            shown = own & np.isin(truth.polygon, rng.permutation(numbers)[: len(numbers) // 2])
            tested &= ~shown
            count = each
        else:
            shown, count = own, min(each, max(1, int(own.sum()) // 2))
        places = np.argwhere(shown)
        parts.append(places[rng.permutation(len(places))[:count]])
    rows, columns = np.concatenate(parts).T
    tested[rows, columns] = False
    places = np.argwhere(tested)
    places = places[np.random.default_rng(seed).permutation(len(places))[:MOST_TESTED]]
    return Draw(rows, columns, truth.labels[rows, columns], places)


class Mapper:
    """Maps scenes from labelled points as `fewshot map` does, with one model in this process."""

    def __init__(self, model: str, folder: Path) -> None:
        """Take a model; labels and maps are written to the folder."""
        self._model, self._folder = model, folder

    @cached_property
    def _predictor(self) -> Any:
        """The model, loaded when it is first needed."""
        from fewshot.exported import open_predictor

        return open_predictor(self._model)

    def __call__(self, method: str, truth: Truth, points: Draw, options: argparse.Namespace) -> tuple[Array, HeldOut]:
        """Map the scene by a method.

        Returns:
            The number of the class of every pixel [H, W], and what the map says of labels that were held out.
        """
        import rasterio

        from fewshot.mapping import LabelPlan, MapRequest, choose_method, map_scene
        from fewshot.mapping.predict.pipeline import run_here
        from fewshot.mapping.support.classes import number_classes

        labels, to = self._folder / "points.gpkg", self._folder / "map.tif"
        write_points(labels, points, truth.grid)
        request = MapRequest(
            (str(truth.scene),),
            to,
            # The neighbour of a pixel of 30 m is often of another class, so a point labels no more than its own.
            LabelPlan(labels, field="class", radius=0),
            bands=truth.place.bands,
            sensor=truth.place.sensor,
            steps=options.steps,
            method=method,
        )
        choice = choose_method(self._predictor, request)
        report = map_scene(choice.predictor, run_here(choice.predictor), choice.request, comparison=choice.comparison)
        with rasterio.open(to) as raster:
            found = raster.read(1)
        own = [int(name.removeprefix("class ")) for name in report.table.names]
        numbers = np.zeros(256, np.int64)
        numbers[list(number_classes(report.table))] = own
        confusion = np.zeros((len(own), len(own))) if report.confusion is None else report.confusion
        shares = zip(np.diag(confusion).tolist(), confusion.sum(axis=1).tolist(), strict=True)
        return np.asarray(numbers[found]), dict(zip(own, shares, strict=True))


def write_points(path: Path, points: Draw, grid: Any) -> None:
    """Write points as a GeoPackage, at the middle of their pixels."""
    import geopandas
    import shapely

    x, y = grid.to_map(points.rows + 0.5, points.columns + 0.5)
    names = [f"class {value}" for value in points.labels.tolist()]
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"class": names}, geometry=shapely.points(x, y), crs=grid.crs).to_file(path)


def plain_classifiers() -> dict[str, Callable[[], Any]]:
    """Return what makes each of the plain classifiers."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "forest": lambda: RandomForestClassifier(100, random_state=0),
        "nearest": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier(1)),
        "boosting": lambda: HistGradientBoostingClassifier(
            min_samples_leaf=2, max_iter=50, early_stopping=False, random_state=0
        ),
    }


def measure(maps: Mapper, truth: Truth, options: argparse.Namespace) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Yield the scores of every method so far, by points a class and draw, after each draw."""
    found: dict[str, list[dict[str, Any]]] = {str(each): [] for each in options.points}
    for seed in range(options.draws):
        for each in options.points:
            points = draw_points(truth, each, seed=seed)
            at = (points.rows, points.columns), tuple(points.tested.T)
            scores = {}
            for method in options.methods:
                found_map, held = maps(method, truth, points, options)
                scores[method] = score(found_map[at[1]], truth.labels[at[1]])
                scores[method]["told"] = told(held, found_map[at[1]], truth.labels[at[1]])
            for method, make in plain_classifiers().items():
                fitted = make().fit(truth.values[at[0]], points.labels)
                scores[f"plain {method}"] = score(fitted.predict(truth.values[at[1]]), truth.labels[at[1]])
            found[str(each)].append(scores)
        yield found


def told(held: HeldOut, said: Array, true: Array) -> list[list[float]]:
    """Return of each class that was held out and is tested the shares told right: of labels held out, of pixels."""
    return [
        [right / count, float((said[true == number] == number).mean())]
        for number, (right, count) in held.items()
        if count > 1 and (true == number).any()
    ]


def score(said: Array, true: Array) -> dict[str, Any]:
    """Return accuracy, and F1 averaged over the classes that are tested."""
    from sklearn.metrics import f1_score

    f1 = f1_score(true, said, average="macro", labels=np.unique(true), zero_division=0)
    return {"accuracy": float((true == said).mean()), "macro_f1": float(f1)}


if __name__ == "__main__":
    main()
