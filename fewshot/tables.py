"""From the plain tables of TOML and JSON to frozen dataclasses: unknown keys and wrong types are errors that say where.

The annotations of a dataclass are its schema: numbers, text, true or false, `Literal`, unions, tuples, mappings from
text, and other dataclasses.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar

Made = TypeVar("Made")

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Any: "anything"}


class _Misfit(Exception):
    """A value is not of its annotated type; which error that is, the caller knows."""


def make_table(  # noqa: PLR0913  what is made of what, and how it is said
    kind: type[Made],
    table: Mapping[str, Any],
    where: str,
    *,
    error: type[Exception],
    at: str = "",
    skip_unknown: bool = False,
) -> Made:
    """Make the dataclass `kind` from a plain table.

    Args:
        kind: A dataclass; a field without a default is a key that must be there.
        table: As `tomllib` or `json` reads it.
        where: The file, as messages name it.
        error: What to raise.
        at: The key of the table in the file; "" for the whole file.
        skip_unknown: Leave unknown keys out, as those of a later version.

    Raises:
        Exception: of the kind `error`, if a key is unknown or missing, or a value is of the wrong type.
    """
    try:
        made: Made = _table(kind, table, at, skip=skip_unknown)
    except _Misfit as misfit:
        raise error(f"{where}: {misfit}") from None
    return made


def nearest(word: str, known: Sequence[str], *, hint: str = " Did you mean {!r}?", cutoff: float = 0.5) -> str:
    """Return `hint` with the nearest of `known` in it, "" if none is near.

    Args:
        word: What was written.
        known: What could be meant.
        hint: With a place for the nearest word.
        cutoff: How near it has to be, 0-1.
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return hint.format(close[0]) if close else ""


def _table(kind: Any, value: Any, where: str, *, skip: bool) -> Any:
    """Make one dataclass; `where` is its key, "" for the whole file."""
    place = f"{where}." if where else ""
    if not isinstance(value, Mapping):
        raise _Misfit(f"{where} = {value!r}: expected a table with {', '.join(f.name for f in fields(kind))}.")
    known: dict[str, Field[Any]] = {f.name: f for f in fields(kind)}
    for key in value:
        if key not in known and not skip:
            raise _Misfit(f"unknown key {place}{key}.{nearest(key, list(known))} Known here: {', '.join(known)}.")
    for key, wanted in known.items():
        if key not in value and wanted.default is MISSING and wanted.default_factory is MISSING:
            raise _Misfit(f"{place}{key} is missing, expected {words(typing.get_type_hints(kind)[key])}.")
    hints = typing.get_type_hints(kind)
    return kind(**{key: _typed(hints[key], value[key], f"{place}{key}", skip=skip) for key in value if key in known})


def _typed(kind: Any, value: Any, where: str, *, skip: bool) -> Any:
    """Check a value against an annotation, turning lists into tuples and tables into dataclasses."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else _table(kind, value, where, skip=skip)
    if origin in (typing.Union, types.UnionType):
        return _any_of(kind, options, value, where, skip=skip)
    if origin is tuple and isinstance(value, list | tuple):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise _Misfit(f"{where} = {value!r}: expected {words(kind)}.")
        kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
        return tuple(
            _typed(k, v, f"{where}[{i}]", skip=skip) for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if origin in (Mapping, dict) and isinstance(value, Mapping):
        return {key: _typed(options[1], item, f"{where}.{key}", skip=skip) for key, item in value.items()}
    if not _suits(kind, value):
        raise _Misfit(f"{where} = {value!r}: expected {words(kind)}.")
    if kind is float:
        return float(value)
    return value


def _any_of(kind: Any, options: Sequence[Any], value: Any, where: str, *, skip: bool) -> Any:
    """Check a value against a union."""
    for option in options:
        try:
            return _typed(option, value, where, skip=skip)
        except _Misfit:
            continue
    raise _Misfit(f"{where} = {value!r}: expected {words(kind)}.")


def _suits(kind: Any, value: Any) -> bool:
    """Whether a plain value is of a type that is neither a list nor a table; true and false are not numbers."""
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def words(kind: Any) -> str:
    """Say an annotation in words."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    if is_dataclass(kind):
        return f"a table with {', '.join(f.name for f in fields(kind))}"
    if origin is Literal:
        return f"one of {', '.join(map(repr, options))}" if len(options) > 1 else repr(options[0])
    if origin is tuple:
        length = "" if options[-1] is Ellipsis else f" of {len(options)}"
        return f"a list{length}, each item {words(options[0])}"
    if origin in (Mapping, dict):
        return f"a table, each value {words(options[1])}"
    return " or ".join(words(option) for option in options if option is not type(None))
