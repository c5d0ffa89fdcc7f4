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

Paths are relative to the file.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fewshot.data.region import RegionSet
from fewshot.data.sources.scene_patches import PatchLayout
from fewshot.data.sources.scenes import Areas, LabelPlan, SceneFiles, read_scenes
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.geo.bands import Band, own_bands
from fewshot.geo.landcover import read_class_table
from fewshot.geo.rasters import describe_raster
from fewshot.tables import make_table


@dataclass(frozen=True)
class SceneEntry:
    """A `[[scenes]]` table.

    Attributes:
        scene: File, or a pattern such as "scenes/*.tif".
        labels: File; `{name}` in it stands for the scene's name.
        name: Of the scene; its file without the ending if empty.
        place: As in `SceneFiles`.
        bands: As in `SceneFiles`.
    """

    scene: str
    labels: str
    name: str = ""
    place: str = ""
    bands: tuple[str, ...] | tuple[int, ...] = ()


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
    scenes = [files for entry in listed.scenes for files in _files(entry, root)]
    if not scenes:
        raise RecipeError(f"{path} lists no scene; expected at least one table [[scenes]] with scene and labels")
    classes = read_class_table(root / listed.classes) if listed.classes else None
    found = read_scenes(
        scenes,
        listed.bands or own_bands(describe_raster(scenes[0].scene), scale=listed.scale),
        patches=listed.patches,
        labels=LabelPlan(classes, listed.label_field or None, listed.radius),
        areas=Areas(root / listed.areas.path, listed.areas.field or None) if listed.areas else None,
        missing=listed.missing,
    )
    return found.select(lambda region: True, name=listed.name or path.stem)


def _files(entry: SceneEntry, root: Path) -> list[SceneFiles]:
    """Return the scenes that one entry names."""
    pattern = "*" in entry.scene or "?" in entry.scene
    paths = sorted(root.glob(entry.scene)) if pattern else [root / entry.scene]
    if not paths:
        raise DataNotFoundError(f"no file is called {root / entry.scene}")
    if pattern and entry.name:
        raise RecipeError(
            f"scene = {entry.scene!r} stands for several files, which cannot all be called {entry.name!r}"
        )
    names = [entry.name or path.stem for path in paths]
    return [
        SceneFiles(name, path, root / entry.labels.replace("{name}", name), entry.place, tuple(entry.bands))
        for name, path in zip(names, paths, strict=True)
    ]
