"""Where regions come from. A new source is one new file here and one line in `SOURCES`."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from fewshot.data.source import Source
from fewshot.errors import RecipeError
from fewshot.tables import make_table, nearest

SOURCES = {
    "omniglot": "fewshot.data.sources.omniglot:Omniglot",
    "omniglot_tfds": "fewshot.data.sources.omniglot:OmniglotTfds",
    "task_archives": "fewshot.data.sources.task_archives:TaskArchives",
    "class_folders": "fewshot.data.sources.class_folders:ClassFolders",
    "sen12ms": "fewshot.data.sources.sen12ms_source:Sen12ms",
    "deepglobe": "fewshot.data.sources.deepglobe:DeepGlobe",
    "scenes": "fewshot.data.sources.scenes_source:Scenes",
    "synthetic": "fewshot.data.sources.synthetic:Synthetic",
    "sine": "fewshot.data.sources.sine:Sine",
}
"""Where the class of each source is; it is imported when a recipe names the source."""


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
