"""Which classes a map has: those of the labels or of the model, their numbers in the map, and their colours."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewshot.errors import ManifestError
from fewshot.exported.card import Card
from fewshot.geo.labels import LabelFiles, found_classes
from fewshot.geo.landcover import DEEPGLOBE, IGBP, ClassTable, Colour, LandClass
from fewshot.geo.rasters import RasterReader

_MOST = 254  # of 256 numbers of a uint8 map, one is nodata

NATURAL: tuple[tuple[str, Colour], ...] = (
    ("water river lake sea", (66, 120, 190)),
    ("wetland marsh swamp", (112, 170, 165)),
    ("forest tree wood", (52, 110, 60)),
    ("shrub heath", (165, 160, 95)),
    ("grass meadow pasture low_vegetation", (160, 200, 110)),
    ("savanna", (214, 196, 110)),
    ("crop field agri farm", (232, 192, 92)),
    ("urban built town city impervious settle", (190, 70, 70)),
    ("road rail", (105, 105, 110)),
    ("barren bare soil sand rock", (202, 172, 142)),
    ("snow ice glacier", (236, 242, 250)),
)
"""Colours that people expect, for classes whose names hold one of the words."""

PALETTE: tuple[Colour, ...] = (
    *((51, 117, 56), (221, 204, 119), (93, 168, 153), (194, 106, 119)),
    *((46, 37, 133), (159, 74, 150), (148, 203, 236), (126, 41, 84)),
    *((220, 140, 60), (120, 120, 120), (190, 220, 90), (90, 60, 40)),
)
"""Colours of all others; the first eight are told apart by people with any colour vision."""


def find_classes(card: Card, labels: Path, *, field: str | None, table: ClassTable | None) -> ClassTable:
    """Return the classes that labels are read with.

    Args:
        card: Of the model; if its classes are fixed, the map has these, in their order.
        labels: Points, lines or polygons, or a class raster.
        field: Of vectors, the one that holds the class.
        table: The user's own names, numbers and colours.

    Raises:
        ManifestError: if a class is not one of the model's.
        FewshotError: what reading the labels raises.
    """
    if card.label_space == "global":
        return _of_model(card, table)
    return table or found_classes([LabelFiles(labels, field)], RasterReader())


def _of_model(card: Card, table: ClassTable | None) -> ClassTable:
    """Return the model's own classes, with numbers and colours from the user's table, the card or a known one."""
    names = [entry.name for entry in card.classes]
    numbered = any(entry.ids for entry in card.classes)
    known = () if numbered else (IGBP, DEEPGLOBE)
    source = table or next((one for one in known if set(names) <= set(one.names)), None)
    if table is not None:
        foreign = [name for name in table.names if name not in names]
        if foreign:
            raise ManifestError(
                f"class table {table.name} has {', '.join(foreign)}; the model knows {', '.join(names)}. Call the "
                "classes so (rows of one name are one class), or ignore those that do not count."
            )
    entries = {entry.name: entry for entry in (source.classes if source else ())}
    kept = []
    for number, entry in enumerate(card.classes, start=1):
        own = tuple(entry.ids) if numbered else (number,)
        found = entries.get(entry.name, LandClass(entry.name, () if source else own))
        kept.append(replace(found, colour=_parsed(entry.colour) or found.colour))
    ignored = [entry for entry in (source.classes if source else ()) if entry.ignored]
    return ClassTable(source.name if source else "of the model", (*kept, *ignored))


def _parsed(colour: str | None) -> Colour | None:
    if colour is None:
        return None
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def number_classes(table: ClassTable) -> tuple[int, ...]:
    """Return the number of each class in a uint8 map.

    Classes keep the number that labels know them by; without one, or where they do not fit, they are 1, 2, ... .

    Raises:
        ManifestError: if there are too many.
    """
    count = len(table.names)
    if count > _MOST:
        raise ManifestError(f"a map holds up to {_MOST} classes; the labels have {count}")
    own = [entry.ids[0] for entry in table.classes if not entry.ignored and len(entry.ids) == 1]
    fits = len(own) == count and all(0 <= value <= 255 for value in own) and not {0, 255} <= set(own)
    return tuple(own) if fits else tuple(range(1, count + 1))


def shown_classes(table: ClassTable, shown: Sequence[int]) -> ClassTable:
    """Return the classes that a map shows, given by index, without the ignored ones.

    Each has a colour: its own, one that its name suggests, or one of the palette.
    """
    counted = [entry for entry in table.classes if not entry.ignored]
    kept = [counted[index] for index in shown]
    taken = {entry.colour for entry in kept if entry.colour is not None}
    entries = []
    for entry in kept:
        name = entry.name.casefold().replace(" ", "_")
        natural = [colour for words, colour in NATURAL if any(word in name for word in words.split())]
        options = (colour for colour in (*natural, *PALETTE) if colour not in taken)
        colour = entry.colour or next(options, None) or _another(taken)
        taken.add(colour)
        entries.append(replace(entry, colour=colour))
    return ClassTable(table.name, tuple(entries))


def _another(taken: set[Colour]) -> Colour:
    """Return a colour that is not taken."""
    rng = np.random.default_rng(len(taken))
    while True:
        red, green, blue = rng.integers(40, 230, 3).tolist()
        if (red, green, blue) not in taken:
            return red, green, blue
