"""A map in one call from Python: of files, or of what is in memory already.

import fewshot

report = fewshot.map_region("may.tif", "points.gpkg", "map.tif", applicable=True)
report  # shows itself in a notebook
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol, TypedDict, Unpack, runtime_checkable

from fewshot.errors import RecipeError
from fewshot.exported.client import open_predictor
from fewshot.exported.predictor import Predictor
from fewshot.geo.composing import Composing, PicturePlan
from fewshot.mapping.compare.choose import choose_method
from fewshot.mapping.plain.predictor import TITLES
from fewshot.mapping.predict.engine import EngineOf, open_engines
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.region_map import Progress, Say, map_scene
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan
from fewshot.tables import nearest

USUAL_MODEL = "earth-points"
"""The model that maps where none is named and the method asks one."""


@runtime_checkable
class GeoArray(Protocol):
    """A georeferenced array, as rioxarray makes them of xarray's: `.rio.to_raster` writes it."""

    rio: Any


@runtime_checkable
class FeatureTable(Protocol):
    """A table of features, as geopandas has them."""

    def to_file(self, filename: Any) -> None:
        """Write it."""


Scene = str | Path | GeoArray
Labels = str | Path | FeatureTable


class MapSettings(TypedDict, total=False):
    """What a map may be asked for, as `MapRequest`, `LabelPlan` and `PicturePlan` explain it."""

    adapted: str | Path
    validation: Labels
    label_field: str
    radius: int
    holdout: float
    apart: int
    seed: int
    classes: str | Path
    bands: Sequence[str | int]
    sensor: str
    scale: float | Literal["auto"]
    offset: float
    assets: Sequence[str]
    mask: str
    mask_out: str
    composite: Composing
    windows: WindowPlan
    steps: int | Literal["auto"]
    method: str
    compare: bool
    probabilities: bool
    applicable: bool
    suggest: int
    save_adapted: str | Path
    resume: bool
    title: str


_OF_LABELS = {"label_field": "field"} | {name: name for name in ("radius", "holdout", "apart", "seed")}
_OF_PICTURES = ("assets", "mask", "mask_out", "composite")
_PATHS = ("adapted", "classes", "save_adapted")


def map_region(
    scene: Scene | Sequence[Scene],
    labels: Labels | None,
    to: str | Path,
    *,
    model: str | Path | Predictor | None = None,
    workers: int = 1,
    **settings: Unpack[MapSettings],
) -> MapReport:
    """Map a region from its own labels, as `fewshot map` does.

    What is not a file is written to a temporary one first, window by window; then the map takes no more memory than
    that of files does, whatever the size of the scene.

    Args:
        scene: A raster that GDAL opens, or a rioxarray DataArray; or several, as neighbours or with a band each.
        labels: Points, lines or polygons, or a class raster; or a GeoDataFrame. None with `adapted`.
        to: The map to write, .tif; the other files are named after it.
        model: A model in the box, a folder or an address; or one that is open. `USUAL_MODEL` if None, and none where
            the method asks none.
        workers: Processes that predict on this machine.
        **settings: What else is asked for: `MapSettings`.

    Raises:
        RecipeError: if what was asked for is not known or does not fit together.
        FewshotError: what `run_request` raises.
    """
    unknown = [name for name in settings if name not in MapSettings.__annotations__]
    if unknown:
        raise RecipeError(
            f"a map has no setting {unknown[0]!r}.{nearest(unknown[0], list(MapSettings.__annotations__))}"
        )
    method = settings.get("method")
    name = model or (None if method in TITLES else USUAL_MODEL)
    with (
        TemporaryDirectory(prefix="fewshot-") as folder,
        _opened(name) as opened,
        open_engines(workers=workers) as engine_of,
    ):
        request = _request(scene, labels, Path(to), settings, Path(folder))
        return run_request(opened, engine_of, request)


def run_request(
    models: Predictor | Mapping[str, Predictor] | None,
    engine_of: EngineOf,
    request: MapRequest,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
) -> MapReport:
    """Choose what maps a region, and map it.

    Args:
        models: As `choose_method` takes them.
        engine_of: Returns what predicts, for the predictor that was chosen.
        request: What to map.
        progress: Called with the blocks that are finished and all there are.
        say: Called with a line on which band went where.

    Raises:
        FewshotError: what `choose_method` and `map_scene` raise.
    """
    choice = choose_method(models, request)
    engine = engine_of(choice.predictor)
    return map_scene(choice.predictor, engine, choice.request, comparison=choice.comparison, progress=progress, say=say)


def _request(
    scene: Scene | Sequence[Scene], labels: Labels | None, to: Path, settings: MapSettings, folder: Path
) -> MapRequest:
    """Return what is asked for, with all that is in memory as files of a folder."""
    asked: dict[str, Any] = dict(settings)
    scenes = [scene] if isinstance(scene, str | Path | GeoArray) else list(scene)
    if asked.get("resume") and not all(isinstance(one, str | Path) for one in scenes):
        raise RecipeError("a scene in memory cannot be known again: resume maps of files only")
    if "bands" not in asked and len(scenes) == 1 and isinstance(scenes[0], GeoArray):
        asked["bands"] = _band_names(scenes[0])
    sources = tuple(_scene_file(one, folder / f"scene{number}.tif") for number, one in enumerate(scenes, start=1))
    asked |= {name: Path(asked[name]) for name in _PATHS if name in asked}
    of_labels = {own: asked.pop(name) for name, own in _OF_LABELS.items() if name in asked}
    of_pictures = {name: asked.pop(name) for name in _OF_PICTURES if name in asked}
    asked["pictures"] = PicturePlan(tuple(of_pictures.pop("assets", ())), **of_pictures)
    validation = asked.pop("validation", None)
    check = None if validation is None else _label_file(validation, folder / "validation.gpkg")
    asked["bands"] = tuple(asked.get("bands", ()))
    if labels is not None:
        plan = LabelPlan(_label_file(labels, folder / "labels.gpkg"), validation=check, **of_labels)
        return MapRequest(sources, to, plan, **asked)
    adapted = asked.pop("adapted", None)
    checked = None if check is None else LabelPlan(check, validation=check, **of_labels)
    return MapRequest(sources, to, None, adapted, checked, **asked)


@contextmanager
def _opened(model: str | Path | Predictor | None) -> Iterator[Predictor | None]:
    """Open a model that is named, and close it in the end; one that is open stays so."""
    if model is None or isinstance(model, Predictor):
        yield model
        return
    with open_predictor(str(model)) as opened:
        yield opened


def _scene_file(scene: Scene, path: Path) -> str:
    """Return a scene as GDAL opens it; what is in memory is written."""
    if not isinstance(scene, GeoArray):
        return str(scene)
    # An array remembers the blocks of the file it is from, which may be none that a tiled GeoTIFF has.
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    scene.rio.to_raster(path, windowed=True, BIGTIFF="IF_SAFER", **blocks)
    return str(path)


def _band_names(scene: Any) -> tuple[str, ...]:
    """Return what an array calls its bands, where its axis of bands has names and not numbers."""
    names = getattr(scene, "coords", {}).get("band")
    found = [] if names is None else [str(name) for name in names.values.ravel().tolist()]
    return () if all(name.isdecimal() for name in found) else tuple(found)


def _label_file(labels: Labels, path: Path) -> Path:
    """Return a file of labels; what is in memory is written."""
    if isinstance(labels, str | Path):
        return Path(labels)
    labels.to_file(path)
    return path
