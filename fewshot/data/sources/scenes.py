"""Any scenes with labels: whatever GDAL opens, in one file or several, their labels a class raster or vectors.

One scene, or one named area of it, is a region; its images are patches cut from it. Only the index of the patches is
in memory; pixels are read when they are asked for. Patches lie in square blocks with gaps between them, and the block
is a patch's source: patches that touch or overlap are never on both sides of a task with disjoint sources.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand
from fewshot.data.region import FloatArray, ImageStore, IntArray, Region, RegionSet
from fewshot.data.sources.scene_patches import THREADS, LabelledScene, Patches, PatchLayout, SceneReport, cut_patches
from fewshot.errors import RasterError, RecipeError
from fewshot.geo.bands import Band
from fewshot.geo.composing import PicturePlan
from fewshot.geo.composite import open_dates
from fewshot.geo.labels import LabelFiles, VectorLabels, found_classes, open_labels, require_georeference
from fewshot.geo.landcover import ClassTable, Labels
from fewshot.geo.pictures import open_pictures
from fewshot.geo.points import dated_places
from fewshot.geo.rasters import RasterInfo, RasterReader
from fewshot.geo.scene import Scene
from fewshot.geo.values import scaling
from fewshot.geo.vectors import areas_holding, read_features
from fewshot.geo.windows import Window


@dataclass(frozen=True)
class SceneFiles:
    """One scene and its labels.

    Attributes:
        name: Unique in its set.
        scene: GeoTIFF, COG, VRT or whatever else GDAL opens, a product or STAC items; or several, as neighbours, with a
            band each, or of other dates.
        labels: A class raster, or GeoPackage, GeoJSON or Shapefile, and how it is read.
        place: What must never be on both sides of a split; if empty, scenes that share ground are one place.
        bands: Overrules the descriptions of the scene's bands; see `match_bands`.
        sensor: What recorded the scene, where it does not say.
        pictures: Which files are read, what of them is left out, and how several dates become one scene.
    """

    name: str
    scene: str | Path | tuple[str | Path, ...]
    labels: LabelFiles
    place: str = ""
    bands: tuple[str | int, ...] = ()
    sensor: str = ""
    pictures: PicturePlan = PicturePlan()

    @property
    def sources(self) -> tuple[str | Path, ...]:
        """The files of the scene."""
        return self.scene if isinstance(self.scene, tuple) else (self.scene,)

    def open(self, bands: Sequence[Band], *, missing: Literal["refuse", "allow"], reader: RasterReader) -> Scene:
        """Find the wanted bands in the scene.

        Args:
            bands: The wanted ones.
            missing: Whether it may lack some.
            reader: Keeps files open.

        Raises:
            FewshotError: what `open_pictures` and `open_dates` raise.
        """
        return open_dates(
            open_pictures(self.sources, self.pictures),
            self.pictures.composite,
            bands,
            chosen=self.bands,
            missing=missing,
            sensor=self.sensor,
            reader=reader,
        )


@dataclass(frozen=True)
class Areas:
    """Named polygons; each is a region of its own.

    Attributes:
        path: Of the layer.
        field: That holds the names; a usual one if None.
    """

    path: Path
    field: str | None = None


class SceneStore(ImageStore):
    """Patches of scenes, read when they are asked for, by several threads."""

    def __init__(self, scenes: Sequence[LabelledScene], places: npt.NDArray[np.int32], size: int) -> None:
        """Keep the index of the patches.

        Args:
            scenes: In a fixed order.
            places: [n, 3] number of the scene, first row and first column of each patch.
            size: Rows and columns of a patch.
        """
        self._scenes, self._places, self._size = tuple(scenes), places, size
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scenes")
        self.names = tuple(f"{scenes[number].name}/{row:05d}_{column:05d}" for number, row, column in places.tolist())
        self.shape = (size, size, len(scenes[0].scene.match.bands))
        self.bands = tuple(self._stored(place) for place in range(self.shape[2]))
        self.has_labels = True

    def _stored(self, place: int) -> StoredBand:
        """Return a band, with what a number of the first scene that has it is worth."""
        scenes = [labelled.scene for labelled in self._scenes]
        scene = next((scene for scene in scenes if scene.match.present[place]), scenes[0])
        band, number = scene.match.bands[place], scene.match.numbers[place]
        scale, offset = (band.scale, band.offset) if number is None else scaling(band, scene.info, number)
        return StoredBand(band.name, band.wavelength, scale, offset, band.unit, band.nodata, stored=scene.info.dtype)

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the patches `indices` [n] as [n, H, W, bands] float32; 0 where not valid and for missing bands."""
        found = list(self._threads.map(self._read_pixels, np.asarray(indices, np.int64).tolist()))
        return np.stack(found) if found else np.zeros((0, *self.shape), np.float32)

    def read_labels(self, indices: npt.ArrayLike) -> Labels:
        """Return the labels of patches `indices` [n] as [n, H, W], index in the set's classes, -1 where ignored.

        Pixels without data are ignored, as are those that contradicting features claim.
        """
        found = list(self._threads.map(self._read_labels, np.asarray(indices, np.int64).tolist()))
        return np.stack(found) if found else np.zeros((0, self._size, self._size), np.int32)

    def _read_pixels(self, index: int) -> FloatArray:
        labelled, window = self._place(index)
        return labelled.scene.read(window)[0]

    def _read_labels(self, index: int) -> Labels:
        labelled, window = self._place(index)
        labels = labelled.layer.read(window)
        return np.where(labelled.scene.valid(window), np.maximum(labels, -1), -1).astype(np.int32)

    def _place(self, index: int) -> tuple[LabelledScene, Window]:
        number, row, column = self._places[index].tolist()
        return self._scenes[number], Window(row, column, self._size, self._size)


@dataclass(frozen=True, eq=False)
class SceneSet(RegionSet):
    """Regions of scenes.

    Attributes:
        class_table: The scheme of the labels, with the user's own numbers and colours.
        reports: What became of the labels and patches of each scene, by its name.
    """

    class_table: ClassTable | None = None
    reports: Mapping[str, SceneReport] | None = None


def read_scenes(
    scenes: Sequence[SceneFiles],
    bands: Sequence[Band],
    *,
    patches: PatchLayout | None = None,
    classes: ClassTable | None = None,
    areas: Areas | None = None,
    missing: Literal["refuse", "allow"] = "refuse",
) -> SceneSet:
    """Cut labelled patches from scenes.

    Args:
        scenes: With their labels; they need not share a CRS or a grid.
        bands: The wanted bands, in the network's order, and what their digital numbers are worth.
        patches: Which patches are cut; patches of 64 pixels without overlap if None.
        classes: The class scheme; if None, every name or number found in the labels is a class.
        areas: Named polygons. If given each is a region, called `<area>`, or `<scene>/<area>` if there are several
            scenes, and the area is its place; patches that are not wholly in one area are left out.
        missing: Whether a scene may lack some of the bands; they read as 0.

    Returns:
        One region a scene or area. A patch's label is the most common class of its labelled pixels; its source is its
        block. `skipped` says in words what was left out, `reports` in numbers.

    Raises:
        DataNotFoundError: if a file does not exist.
        DamagedDataError: if a vector file cannot be read.
        ManifestError: if a label's class is unknown to the class table.
        RasterError: if a raster cannot be read, lacks a band, its CRS, or data; if labels lie outside of their scene;
            if a scene is smaller than a patch; or if no patch of a scene is left.
        RecipeError: if two scenes or areas have one name, or it is not clear which field holds the class.
    """
    patches = patches or PatchLayout()
    _require_unique([files.name for files in scenes], "scenes")
    if not scenes:
        raise RecipeError("no scene was named; expected at least one, with its labels")
    reader = RasterReader()
    opened = [each.open(bands, missing=missing, reader=reader) for each in scenes]
    table = classes or found_classes([files.labels for files in scenes], reader)
    labelled: list[LabelledScene] = []
    for files, scene in zip(scenes, opened, strict=True):
        require_georeference(scene.info, "scene")
        _require_size(scene.info, patches.size)
        layer = open_labels(reader, files.labels, scene.info, table)
        dated = scene.of_dates(dated_places(layer, scene.grid)) if isinstance(layer, VectorLabels) else scene
        labelled.append(LabelledScene(files.name, dated, layer))
    cut = [cut_patches(each, patches) for each in labelled]
    return _assemble(labelled, cut, _places(scenes, opened), areas)


def _require_unique(names: Sequence[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RecipeError(f"two {what} are called {twice[0]!r}; each is a region of its own, and needs its own name")


def _require_size(info: RasterInfo, size: int) -> None:
    if min(info.grid.height, info.grid.width) < size:
        raise RasterError(
            f"{info.path} is {info.grid.height}x{info.grid.width} pixels, smaller than a patch of {size}x{size}; "
            "choose a smaller patch, or leave the scene out"
        )


def _places(scenes: Sequence[SceneFiles], opened: Sequence[Scene]) -> list[str]:
    """Return the place of each scene: as named, else that of the first scene it shares ground with."""
    places = [files.place or files.name for files in scenes]
    for i, scene in enumerate(opened):
        for j in range(i):
            if not (scenes[i].place or scenes[j].place) and scene.grid.overlaps(opened[j].grid):
                # All that were one place with this scene are now one with the other.
                places = [places[j] if place == places[i] else place for place in places]
    return places


@dataclass(frozen=True, eq=False)
class _Part:
    """The patches of one scene that are one region."""

    name: str
    place: str
    scene: int
    patches: Patches


def _parts(
    scenes: Sequence[LabelledScene], cut: Sequence[Patches], places: Sequence[str], areas: Areas | None
) -> list[_Part]:
    """Divide the patches of each scene into regions."""
    if areas is None:
        numbered = enumerate(zip(scenes, places, cut, strict=True))
        return [_Part(scene.name, place, number, patches) for number, (scene, place, patches) in numbered]
    parts: list[_Part] = []
    for number, (labelled, patches) in enumerate(zip(scenes, cut, strict=True)):
        info = labelled.scene.info
        found = read_features(areas.path, info.grid, field=areas.field, scene=str(info.path))
        names = [str(value) for value in found.values]
        _require_unique(names, f"areas of {areas.path}")
        holder = areas_holding(found, patches.rows, patches.columns, patches.size)
        for area in np.unique(holder[holder >= 0]).tolist():
            name = names[area] if len(scenes) == 1 else f"{labelled.name}/{names[area]}"
            parts.append(_Part(name, names[area], number, patches.keep(holder == area)))
    if not parts:
        raise RasterError(
            f"no patch lies wholly in one area of {areas.path}; choose patches smaller than {cut[0].size} pixels"
        )
    return parts


def _assemble(
    scenes: Sequence[LabelledScene],
    cut: Sequence[tuple[Patches, SceneReport]],
    places: Sequence[str],
    areas: Areas | None,
) -> SceneSet:
    """Make regions of the patches of all scenes, over one store."""
    parts = _parts(scenes, [patches for patches, _ in cut], places, areas)
    table = scenes[0].layer.table
    regions, index, start = [], [], 0
    for part, sources in zip(parts, _sources(scenes, parts), strict=True):
        patches, stop = part.patches, start + len(part.patches.rows)
        present = np.flatnonzero(patches.shown.any(axis=0))
        names = tuple(table.names[i] for i in present)
        labels = np.searchsorted(present, patches.labels)
        regions.append(Region(part.name, names, np.arange(start, stop), labels, sources, part.place))
        index.append(np.stack([np.full(stop - start, part.scene), patches.rows, patches.columns], axis=1))
        start = stop
    store = SceneStore(scenes, np.concatenate(index).astype(np.int32), parts[0].patches.size)
    used = [sum(len(part.patches.rows) for part in parts if part.scene == number) for number in range(len(scenes))]
    reports = {
        labelled.name: replace(
            report,
            patches=count,
            outside_areas=report.patches - count,
            bands_in_order=labelled.scene.match.how == "order",
        )
        for labelled, (_, report), count in zip(scenes, cut, used, strict=True)
    }
    lines = tuple(line for report in reports.values() for line in report.lines())
    return SceneSet("scenes", store, tuple(regions), table.names, skipped=lines, class_table=table, reports=reports)


def _sources(scenes: Sequence[LabelledScene], parts: Sequence[_Part]) -> list[IntArray]:
    """Number the sources of each part anew, so that within a place one number is one piece of ground."""
    keys = []
    for part in parts:
        same = (n for n in range(part.scene) if scenes[n].scene.grid.same_as(scenes[part.scene].scene.grid))
        # Blocks are the same in all scenes on one grid; groups around labels are a scene's own.
        ground = next(same, part.scene) if part.patches.in_blocks else part.scene
        keys.append(part.patches.sources + (ground << 48))
    of_place: dict[str, IntArray] = {
        place: np.unique(np.concatenate([key for key, part in zip(keys, parts, strict=True) if part.place == place]))
        for place in {part.place for part in parts}
    }
    return [np.searchsorted(of_place[part.place], key) for key, part in zip(keys, parts, strict=True)]
