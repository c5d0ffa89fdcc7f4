"""Class schemes: which numbers or colours of a label stand for which class, and which are ignored."""

import csv
import re
import tomllib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import DamagedDataError, DataNotFoundError, ManifestError
from fewshot.tables import nearest

Colour = tuple[int, int, int]
"""Red, green, blue, 0-255."""

Labels = npt.NDArray[np.int32]
"""Index of a class in its table, negative where a label does not count."""

IGNORED = -1
"""The label of what has no class, or an ignored one."""

_KEYS = ("id", "ids", "name", "colour", "ignored")
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0", ""}


@dataclass(frozen=True)
class LandClass:
    """One class of a scheme.

    Attributes:
        name: Unique in its table.
        ids: Numbers that stand for it in label rasters; several where classes were merged.
        colour: Red, green, blue 0-255, None where it has none.
        ignored: Whether its pixels count for nothing, neither in training nor in a score.
    """

    name: str
    ids: tuple[int, ...]
    colour: Colour | None = None
    ignored: bool = False


@dataclass(frozen=True)
class ClassTable:
    """A class scheme. A class's index, 0..n-1, is its place among the classes that are not ignored.

    Attributes:
        name: Of the scheme, or the file it was read from.
        classes: In the order of their indices, ignored ones among them.
    """

    name: str
    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        """Check that names, numbers and colours stand for one class each, and that some class counts."""
        self._require_unique("name", (entry.name for entry in self.classes))
        self._require_unique("id", (number for entry in self.classes for number in entry.ids))
        self._require_unique("colour", (entry.colour for entry in self.classes if entry.colour is not None))
        if not self.names:
            raise ManifestError(f"class table {self.name} has no class that counts; expected one that is not ignored")

    def _require_unique(self, what: str, values: Iterable[Hashable]) -> None:
        seen: set[Hashable] = set()
        for value in values:
            if value in seen:
                raise ManifestError(f"class table {self.name} has {what} {value!r} twice; each may stand for one class")
            seen.add(value)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that count, by index."""
        return tuple(entry.name for entry in self.classes if not entry.ignored)

    @property
    def colours(self) -> dict[int, Colour]:
        """Colour by index, of the classes that count and have one."""
        kept = [entry for entry in self.classes if not entry.ignored]
        return {index: entry.colour for index, entry in enumerate(kept) if entry.colour is not None}

    def index_of(self, value: Any, *, where: str) -> int:
        """Return the index of the class called or numbered `value`.

        Args:
            value: A name (upper and lower case are one if no name is spelled exactly so), or a number, also as text.
            where: What holds the value, for the message.

        Returns:
            0..n-1, -1 for an ignored class.

        Raises:
            ManifestError: if no class is called or numbered so.
        """
        found = self._find(value)
        if found is None:
            names = [entry.name for entry in self.classes]
            hint = nearest(str(value), names)
            known = ", ".join(f"{entry.name} ({'/'.join(map(str, entry.ids))})" for entry in self.classes)
            raise ManifestError(
                f"{where} has class {value!r}, which class table {self.name} does not know.{hint} It has: {known}. "
                "Correct the label, or add the class to the table (ignored = true if it is not to count)."
            )
        return IGNORED if found.ignored else self.names.index(found.name)

    def _find(self, value: Any) -> LandClass | None:
        """Return the class called or numbered `value`, None if there is none."""
        number = _whole(value)
        text = str(value).strip()
        tests = (
            lambda entry: entry.name == text,
            lambda entry: number is not None and number in entry.ids,
            lambda entry: entry.name.casefold() == text.casefold(),
        )
        return next((entry for test in tests for entry in self.classes if test(entry)), None)

    def indices(self, ids: npt.NDArray[Any], *, valid: npt.NDArray[np.bool_] | None = None, where: str) -> Labels:
        """Turn the numbers of a label raster into class indices.

        Args:
            ids: [...] numbers; floats are accepted where they are whole.
            valid: [...] where there is a label at all; everywhere if None.
            where: Which raster and window, for the message.

        Returns:
            [...] int32 index, -1 where not valid or ignored.

        Raises:
            ManifestError: if a valid number stands for no class.
        """
        order = np.argsort(numbers := np.array([n for entry in self.classes for n in entry.ids], np.int64))
        index = {name: i for i, name in enumerate(self.names)}
        target = np.array([index.get(entry.name, IGNORED) for entry in self.classes for _ in entry.ids], np.int32)
        if not len(numbers):
            raise ManifestError(
                f"class table {self.name} has no ids, so the numbers of {where} cannot be read by it. Say in a class "
                "table of your own (CSV: id, name, colour, ignored) which number is which class."
            )
        numbers, target = numbers[order], target[order]
        place = np.minimum(np.searchsorted(numbers, ids), len(numbers) - 1)
        known = numbers[place] == ids
        counted = np.ones(ids.shape, np.bool_) if valid is None else valid
        if not np.all(known | ~counted):
            values, counts = np.unique(ids[~known & counted], return_counts=True)
            found = ", ".join(f"{v:g} ({n} pixels)" for v, n in zip(values[:8], counts[:8], strict=True))
            raise ManifestError(
                f"{where}: {found}{', ...' if len(values) > 8 else ''} stand for no class in class table {self.name}, "
                f"which has {', '.join(map(str, numbers.tolist()))}. Add them to the class table (ignored = true for "
                "what is not to count), or set the file's nodata."
            )
        return np.where(known & counted, target[place], np.int32(IGNORED)).astype(np.int32)

    def indices_of_colours(self, pixels: npt.NDArray[np.uint8], *, cut: int | None = None, where: str) -> Labels:
        """Turn a colour mask into class indices.

        Args:
            pixels: [H, W, 3] red, green, blue.
            cut: For masks whose colours were blurred by compression: values from `cut` on are 255, the others 0.
            where: Which mask, for the message.

        Returns:
            [H, W] int32 index, -1 where ignored.

        Raises:
            DamagedDataError: if a colour stands for no class, or the mask has not three channels.
        """
        if pixels.ndim != 3 or pixels.shape[-1] != 3:
            raise DamagedDataError(f"{where}: expected a mask [H, W, 3] of colours, received {list(pixels.shape)}")
        clean = pixels if cut is None else np.where(pixels >= cut, 255, 0)
        packed = clean.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])  # one number a colour
        index = {name: i for i, name in enumerate(self.names)}
        labels = np.full(packed.shape, IGNORED, np.int32)
        unknown = np.ones(packed.shape, np.bool_)
        for entry in self.classes:
            if entry.colour is not None:
                here = packed == (entry.colour[0] << 16) + (entry.colour[1] << 8) + entry.colour[2]
                labels[here] = index.get(entry.name, IGNORED)
                unknown &= ~here
        if unknown.any():
            row, column = np.argwhere(unknown)[0].tolist()
            known = ", ".join(f"{entry.name} {entry.colour}" for entry in self.classes if entry.colour)
            raise DamagedDataError(
                f"{where}: {int(unknown.sum())} pixels have a colour of no class, the first "
                f"{tuple(pixels[row, column].tolist())} at row {row}, column {column}; {self.name} has {known}. "
                "Is this the mask of another data set?"
            )
        return labels


def _whole(value: Any) -> int | None:
    """Return a whole number given as a number or as text, None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def class_table(name: str, rows: Sequence[Mapping[str, Any]]) -> ClassTable:
    """Build a table from rows with the keys id (or ids), name, colour and ignored.

    Rows of one name are one class with all their numbers.

    Args:
        name: Of the scheme, or the file the rows are from.
        rows: colour is "#rrggbb" or [red, green, blue]; colour and ignored may be left out.

    Raises:
        ManifestError: if a row has an unknown key, lacks a name, or has a number, colour or mark that cannot be read.
    """
    merged: dict[str, LandClass] = {}
    for number, row in enumerate(rows, start=1):
        entry = _land_class(row, f"class table {name}, class {number}")
        before = merged.get(entry.name)
        if before is not None:
            if (before.colour, before.ignored) != (entry.colour, entry.ignored):
                raise ManifestError(f"class table {name}: rows of {entry.name!r} differ in colour or ignored")
            entry = LandClass(entry.name, before.ids + entry.ids, entry.colour, entry.ignored)
        merged[entry.name] = entry
    return ClassTable(name, tuple(merged.values()))


def _land_class(row: Mapping[str, Any], where: str) -> LandClass:
    """Read one row of a table."""
    for key in row:
        if key not in _KEYS:
            hint = nearest(str(key), _KEYS, hint="did you mean {!r}?") or f"expected {', '.join(_KEYS)}."
            raise ManifestError(f"{where} has the unknown key {key!r}; {hint}")
    name = str(row.get("name") or "").strip()
    if not name:
        raise ManifestError(f"{where} has no name")
    listed = row.get("ids", [row["id"]] if row.get("id") not in (None, "") else [])
    ids = [_whole(value) for value in listed]
    if None in ids:
        raise ManifestError(f"{where} ({name}) has id {listed}; expected whole numbers")
    ignored = str(row.get("ignored") or "").strip().lower()
    if ignored not in _TRUE | _FALSE:
        raise ManifestError(f"{where} ({name}) has ignored = {row['ignored']!r}; expected true or false")
    whole = tuple(number for number in ids if number is not None)
    return LandClass(name, whole, _colour(row.get("colour"), f"{where} ({name})"), ignored in _TRUE)


def _colour(value: Any, where: str) -> Colour | None:
    """Read "#rrggbb" or [red, green, blue]."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", value.strip()):
        red, green, blue = bytes.fromhex(value.strip().removeprefix("#"))
        return red, green, blue
    if isinstance(value, Sequence) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value):
        return value[0], value[1], value[2]
    raise ManifestError(f"{where} has colour {value!r}; expected '#rrggbb' or [red, green, blue] of 0-255")


def read_class_table(path: Path) -> ClassTable:
    """Read a class table: a CSV with columns id, name, colour, ignored, or a TOML with `[[classes]]` of these keys.

    Raises:
        DataNotFoundError: if there is no such file.
        ManifestError: if it is neither, or a class in it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"there is no class table {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".toml":
            content = tomllib.loads(text)
            rows, name = content.get("classes", []), str(content.get("name", path.name))
        else:
            first = text.partition("\n")[0]
            delimiter = max(",;\t", key=first.count)
            rows, name = list(csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)), path.name
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"class table {path} cannot be read: {error}") from error
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise ManifestError(
            f"class table {path} has no class; expected a CSV with columns id, name, colour, ignored, or a TOML with "
            "[[classes]] of these keys"
        )
    return class_table(name, [{key: value for key, value in row.items() if key is not None} for row in rows])


IGBP = ClassTable(
    "simplified IGBP",
    (
        LandClass("Forests", (1, 2, 3, 4, 5), (0, 153, 0)),
        LandClass("Shrubland", (6, 7), (198, 176, 68)),
        LandClass("Savanna", (8, 9), (251, 255, 19)),
        LandClass("Grassland", (10,), (182, 255, 5)),
        LandClass("Wetlands", (11,), (39, 255, 135)),
        LandClass("Croplands", (12, 14), (194, 79, 68)),
        LandClass("Urban_Build-up", (13,), (165, 165, 165)),
        LandClass("Snow_Ice", (15,), (105, 255, 248)),
        LandClass("Barren", (16,), (249, 255, 164)),
        LandClass("Water", (17,), (28, 13, 255)),
    ),
)
"""The ten classes that SEN12MS is used with, and the numbers of the 17 IGBP classes merged into each."""

DEEPGLOBE = ClassTable(
    "DeepGlobe",
    (
        LandClass("urban", (0,), (0, 255, 255)),
        LandClass("agriculture", (1,), (255, 255, 0)),
        LandClass("rangeland", (2,), (255, 0, 255)),
        LandClass("forest", (3,), (0, 255, 0)),
        LandClass("water", (4,), (0, 0, 255)),
        LandClass("barren", (5,), (255, 255, 255)),
        LandClass("unknown", (6,), (0, 0, 0), ignored=True),
    ),
)
"""The seven colours of DeepGlobe's masks (Demir et al. 2018); its files have colours only, the numbers are ours."""
