"""A list of scenes in a TOML file: everything that `read_scenes` needs, so that one path names a user's own data.

    label_field = "crop"           # of vector labels; a usual field such as "class" if left out
    classes = "classes.csv"        # id, name, colour, ignored; every class found in the labels if left out
    scale = 1e-4                   # what one unit is worth in reflectance, where all bands are taken as they are

    [[scenes]]
    scene = "scenes/*.tif"         # a pattern names each scene by its file
    labels = "labels/{name}.gpkg"

    [[bands]]                      # the network's bands, in its order; all of the first scene if left out
    name = "B4"
    scale = 1e-4

    [patches]
    size = 64

    [areas]
    path = "districts.gpkg"
    field = "name"

A scene is one file, or several: neighbours, or files with a band each, in the order of `bands` where nothing else says
which band they hold; a pattern among them stands for all its files. It may have any name that GDAL opens:

    [[scenes]]
    scene = ["hill_west.tif", "hill_east.tif"]
    labels = "hill.gpkg"

    [[scenes]]
    name = "valley"
    scene = ['NETCDF:"valley.nc":red', 'NETCDF:"valley.nc":nir']   # or "/vsizip/valley.zip/may.tif", "https://..."
    bands = ["B4", "B8"]
    labels = "valley.gpkg"

or be what people download, and be several dates, with clouds left out, as `fewshot map` takes it:

    [[scenes]]
    name = "plain"
    scene = ["S2A_MSIL2A_20240601T....SAFE.zip", "2024-07-01=july.tif"]
    mask = "SCL"                   # a band or file of the scene by its name, or a raster; mask_out = "3,8-10"
    composite = "median"
    labels = "plain.gpkg"

    [[scenes]]
    scene = "items.json"           # of a STAC catalogue
    assets = ["B02", "B03", "B04", "B08"]
    labels = "plain.gpkg"

Paths are relative to the file, also those inside such names.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fewshot.data.region import RegionSet
from fewshot.data.source import Source
from fewshot.data.sources.scene_patches import PatchLayout
from fewshot.data.sources.scenes import Areas, SceneFiles, SceneSet, read_scenes
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.geo.bands import Band
from fewshot.geo.composing import Composing, PicturePlan
from fewshot.geo.composite import describe_pictures
from fewshot.geo.labels import LabelFiles
from fewshot.geo.landcover import LandClass, read_class_table
from fewshot.geo.masks import is_named
from fewshot.geo.names import from_folder, is_path, short_name
from fewshot.geo.pictures import open_pictures
from fewshot.geo.products import split_date
from fewshot.geo.values import own_bands
from fewshot.tables import make_table


@dataclass(frozen=True)
class SceneEntry:
    """A `[[scenes]]` table.

    Attributes:
        scene: File, a pattern such as "scenes/*.tif" whose files are a scene each, or the several files of one scene.
        labels: File; `{name}` in it stands for the scene's name.
        name: Of the scene; its first file without the ending if empty.
        place: As in `SceneFiles`.
        bands: As in `SceneFiles`.
        sensor: As in `SceneFiles`.
        assets: As in `PicturePlan`.
        mask: As in `PicturePlan`; a file is named from the list's folder.
        mask_out: As in `PicturePlan`.
        composite: As in `PicturePlan`.
    """

    scene: str | tuple[str, ...]
    labels: str
    name: str = ""
    place: str = ""
    bands: tuple[str, ...] | tuple[int, ...] = ()
    sensor: str = ""
    assets: tuple[str, ...] = ()
    mask: str = ""
    mask_out: str = ""
    composite: Composing = ""

    def pictures(self, root: Path) -> PicturePlan:
        """Return which files of the scene are read, those of the list's folder."""
        mask = self.mask if not self.mask or is_named(self.mask) else from_folder(self.mask, root)
        return PicturePlan(self.assets, mask, self.mask_out, self.composite)


@dataclass(frozen=True)
class AreasEntry:
    """The `[areas]` table.

    Attributes:
        path: Of the polygons.
        field: That holds their names; a usual one such as "name" if empty.
    """

    path: str
    field: str = ""


@dataclass(frozen=True)
class SceneList:
    """The whole file.

    Attributes:
        scenes: At least one.
        name: Of the data, for reports; the file's if empty.
        label_field: Of vector labels, the field that holds the class.
        radius: Pixels on each side of a labelled point that it labels too.
        classes: A class table.
        scale: What one unit is worth in reflectance, where no bands are listed.
        bands: The network's bands.
        missing: Whether a scene may lack some bands.
        patches: Which patches are cut.
        areas: Named polygons, each a region.
    """

    scenes: tuple[SceneEntry, ...]
    name: str = ""
    label_field: str = ""
    radius: int = 0
    classes: str = ""
    scale: float | None = None
    bands: tuple[Band, ...] = ()
    missing: Literal["refuse", "allow"] = "refuse"
    patches: PatchLayout = PatchLayout()
    areas: AreasEntry | None = None


@dataclass(frozen=True)
class Scenes(Source):
    """Rasters and their labels, listed in a scenes.toml."""

    name: ClassVar[str] = "scenes"
    one_path: ClassVar[bool] = True
    instead: ClassVar[Mapping[str, str]] = {
        "size": "size under [patches] in the list of scenes",
        "window": "size under [patches] in the list of scenes",
        "bands": "[[bands]] in the list of scenes",
        "purity": "purity under [patches] in the list of scenes",
        "scale": "scale, or [[bands]], in the list of scenes",
    }

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the scenes of the list."""
        return read_scene_list(paths[0])

    def known_classes(self, regions: RegionSet) -> Sequence[LandClass]:
        """Return classes with the colours and the numbers of the user's own labels."""
        own = regions.class_table if isinstance(regions, SceneSet) else None
        return own.classes if own else ()


def read_scene_list(path: Path) -> RegionSet:
    """Read the scenes that a TOML file lists, as `read_scenes` does.

    Raises:
        DataNotFoundError: if the file, or one that it names, does not exist.
        RecipeError: if the file has an unknown key or a value of the wrong type, or its names do not fit.
        FewshotError: as `read_scenes` does.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"there is no list of scenes {path}")
    try:
        listed = make_table(SceneList, tomllib.loads(path.read_text(encoding="utf-8")), str(path), error=RecipeError)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"the list of scenes {path} cannot be read: {error}") from error
    root = path.parent
    scenes = [files for entry in listed.scenes for files in _files(entry, listed, root)]
    if not scenes:
        raise RecipeError(f"{path} lists no scene; expected at least one table [[scenes]] with scene and labels")
    classes = read_class_table(root / listed.classes) if listed.classes else None
    found = read_scenes(
        scenes,
        listed.bands or _bands_of(scenes[0], listed.scale),
        patches=listed.patches,
        classes=classes,
        areas=Areas(root / listed.areas.path, listed.areas.field or None) if listed.areas else None,
        missing=listed.missing,
    )
    return found.select(lambda region: True, name=listed.name or path.stem)


def _bands_of(files: SceneFiles, scale: float | None) -> tuple[Band, ...]:
    """Return all bands of a scene as its files describe them."""
    pictures = open_pictures(files.sources, files.pictures)
    return own_bands(describe_pictures(pictures, files.pictures.composite), scale=scale)


def _files(entry: SceneEntry, listed: SceneList, root: Path) -> list[SceneFiles]:
    """Return the scenes that one entry names."""
    if isinstance(entry.scene, tuple):
        scenes = [tuple(name for each in entry.scene for name in _named(each, root))]
    else:
        scenes = [(name,) for name in _named(entry.scene, root)]
    if len(scenes) > 1 and entry.name:
        raise RecipeError(
            f"scene = {entry.scene!r} stands for several files, which cannot all be called {entry.name!r}"
        )
    if not scenes[0]:
        raise RecipeError("scene = [] names no file; expected the files of one scene")
    found = []
    for sources in scenes:
        name = entry.name or short_name(split_date(sources[0])[1])
        path = Path(from_folder(entry.labels.replace("{name}", name), root))
        labels = LabelFiles(path, listed.label_field or None, listed.radius)
        pictures = entry.pictures(root)
        found.append(SceneFiles(name, sources, labels, entry.place, tuple(entry.bands), entry.sensor, pictures))
    return found


def _named(scene: str, root: Path) -> list[str]:
    """Return the files that a pattern stands for, or the name that is none; a date before it stays before each."""
    date, name = split_date(scene)
    if not (is_path(name) and ("*" in name or "?" in name)):
        found = [from_folder(name, root)]
    else:
        anchor = Path(name).anchor  # of a pattern that is not relative
        found = [str(path) for path in sorted(Path(anchor or root).glob(name.removeprefix(anchor)))]
    if not found:
        raise DataNotFoundError(f"no file is called {root / name}")
    return [f"{date}={path}" for path in found] if date else found
