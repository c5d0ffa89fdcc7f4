"""What a source of data is: its keys in a recipe, how it is read, and what is to be said of it.

A source is a frozen dataclass whose fields are its keys in `[data]`. Everything that differs from source to source is
asked of it; `fewshot.data.sources` lists them all.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from fewshot.data.bands import StoredBand
from fewshot.data.catalogue.manifest import Manifest, read_manifest
from fewshot.data.region import RegionSet
from fewshot.data.sources import SOURCES
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.geo.landcover import LandClass
from fewshot.tables import make_table, nearest


@dataclass(frozen=True)
class Source(ABC):
    """A source of regions.

    Attributes:
        name: As recipes and `SOURCES` call it.
        reads_files: Whether paths have to be named.
        one_path: Whether it reads one file or folder only.
        draws_waves: Whether it stands for tasks that are drawn from nothing, not for regions.
        simulated: Whether a program makes the data, where no manifest says it.
        licence: Of the data, where no manifest says it.
        instead: Where a key of other sources is set for this one, by the key.
        on_damaged: `raise`, or `skip` and count.
    """

    name: ClassVar[str]
    reads_files: ClassVar[bool] = True
    one_path: ClassVar[bool] = False
    draws_waves: ClassVar[bool] = False
    simulated: ClassVar[bool] = False
    licence: ClassVar[str] = "not known to the program: that of your own data"
    instead: ClassVar[Mapping[str, str]] = {}

    on_damaged: Literal["raise", "skip"] = "raise"

    @abstractmethod
    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read regions from paths that are there."""

    def own_paths(self) -> Sequence[Path]:
        """Return where the data is if no path is named."""
        return ()

    def open(self, paths: Sequence[Path]) -> RegionSet:
        """Read regions from the user's files.

        Raises:
            DataNotFoundError: if a path is missing, or none was given to a source that needs one.
        """
        paths = paths or self.own_paths()
        if not self.reads_files:
            return self.read(paths)
        if not paths:
            raise DataNotFoundError(
                f"This recipe reads {self.name} data from files, and none were named. Add --data PATH (several are "
                "allowed); `fewshot recipes show NAME` says where they come from."
            )
        for path in paths:
            if not path.exists():
                raise DataNotFoundError(f"There is no file or folder {path}, named with --data.")
        if len(paths) > 1 and self.one_path:
            raise DataNotFoundError(f"{self.name} reads one file or folder; {len(paths)} were named with --data.")
        return self.read(paths)

    def after_split(self, part: RegionSet) -> RegionSet:
        """Return what training, validation or test makes of its part of the regions."""
        return part

    def describe_data(self, regions: RegionSet) -> Manifest:
        """Return what is known of the data: all that its manifest says, or little."""
        if regions.manifest:
            return read_manifest(regions.manifest)
        title = regions.name.partition("/")[0]  # not the part of it that trains
        return Manifest(self.name, title, self.licence, citation="", homepage="", simulated=self.simulated)

    def describe_bands(self, regions: RegionSet) -> Sequence[StoredBand]:
        """Return the bands as clients send them: as the images' store names them, else all of the manifest's."""
        return regions.store.bands or self.describe_data(regions).bands

    def describe_classes(self, regions: RegionSet) -> tuple[LandClass, ...]:
        """Return the classes, each with what is known of it."""
        named = {entry.name: entry for entry in self.known_classes(regions)}
        return tuple(named.get(name, LandClass(name, ())) for name in regions.classes)

    def known_classes(self, regions: RegionSet) -> Sequence[LandClass]:
        """Return classes with their colours, as the manifest has them; numbers are of a user's own labels alone."""
        return [replace(entry, ids=()) for entry in self.describe_data(regions).classes]


def source_class(name: str) -> type[Source]:
    """Return the class of the source called `name`, one of `SOURCES`."""
    module, _, kind = SOURCES[name].partition(":")
    found: type[Source] = getattr(importlib.import_module(module), kind)
    return found


def keys_of(name: str) -> tuple[str, ...]:
    """Return the keys of a source in `[data]`."""
    return tuple(f.name for f in fields(source_class(name)))


def make_source(name: Any, table: Mapping[str, Any], where: str, *, besides: Collection[str]) -> Source:
    """Make a source of its keys in `[data]`.

    Args:
        name: Of the source, as it was written.
        table: Its keys.
        where: The recipe, as messages name it.
        besides: Further keys that `[data]` may have, for the message.

    Raises:
        RecipeError: if there is no such source, it does not read a key, or a value is of the wrong type.
    """
    if not isinstance(name, str) or name not in SOURCES:
        raise RecipeError(f"{where}: data.source = {name!r}: expected one of {', '.join(map(repr, SOURCES))}.")
    kind, known = source_class(name), keys_of(name)
    for key, value in table.items():
        if key not in known:
            _refuse(kind, key, value, where, [*known, *besides])
    # Recipes that are older than this list hold the keys of all sources; a size of 0 was the source's own.
    unset = {key for key in ("size", "window") if table.get(key) == 0 and table[key] is not False}
    own = {key: value for key, value in table.items() if key in known and key not in unset}
    return make_table(kind, own, where, error=RecipeError, at="data")


def _refuse(kind: type[Source], key: str, value: Any, where: str, known: list[str]) -> None:
    """Say what is wrong with a key that a source does not read; one of another source that asks for nothing may be."""
    readers = [name for name in SOURCES if key in keys_of(name)]
    if not readers:
        raise RecipeError(f"{where}: unknown key data.{key}.{nearest(key, known)} Known here: {', '.join(known)}.")
    if value:
        instead = f" Set {kind.instead[key]} instead." if key in kind.instead else ""
        raise RecipeError(
            f"data.{key} = {value!r} means nothing to data.source = {kind.name!r}; it is read by "
            f"{', '.join(readers)}.{instead}"
        )
