"""The source of a user's own scenes: a list of them in a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fewshot.data.region import RegionSet
from fewshot.data.source import Source
from fewshot.data.sources.scene_list import read_scene_list
from fewshot.data.sources.scenes import SceneSet
from fewshot.geo.landcover import LandClass


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

    def describe_classes(self, regions: RegionSet) -> tuple[LandClass, ...]:
        """Return the classes with the colours and the numbers of the user's own labels."""
        own = regions.class_table if isinstance(regions, SceneSet) else None
        named = {entry.name: entry for entry in (own.classes if own else ())}
        return tuple(named.get(name, LandClass(name, ())) for name in regions.classes)
