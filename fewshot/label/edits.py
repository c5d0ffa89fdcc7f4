"""Edits of a project: each is a line of JSON in its log, and knows how it changes the state."""

from __future__ import annotations

import keyword
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fewshot.errors import RecipeError
from fewshot.label.state import Draft, Kind, Label, ProjectClass, ProjectState
from fewshot.tables import make_table, nearest

PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#000000")
"""Colours that people with any colour vision tell apart (Okabe and Ito)."""
KEYS = "123456789"

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LONGEST_NAME = 80
_WIDEST = 1e6  # pixels
_MOST_CLASSES = 254  # that a map can hold
_DEPTHS: dict[Kind, int] = {"point": 0, "line": 1, "brush": 1, "polygon": 2}
_FEWEST = {"line": 2, "brush": 1, "polygon": 3}


class Edit(ABC):
    """One change. Its fields are the keys of its JSON, whose `op` says which edit it is."""

    op: ClassVar[str]

    @abstractmethod
    def change(self, draft: Draft) -> None:
        """Change a state.

        Raises:
            RecipeError: if the state has not what is to be changed.
        """


@dataclass(frozen=True)
class AddLabel(Edit):
    """Label a place."""

    op: ClassVar[str] = "add_label"
    id: str
    class_: str
    kind: Kind
    coordinates: Any
    width: float | None = None

    def change(self, draft: Draft) -> None:
        """Add it; one that is there already just so is one that was sent twice."""
        _require_id(self.id)
        _require_class(draft, self.class_)
        width = self.width or 0.0
        if not 0 <= width < _WIDEST or (self.kind == "brush" and not width):
            least = "more than 0" if self.kind == "brush" else "0 on"
            raise RecipeError(f"a {self.kind} has a width in pixels, {least} and less than {_WIDEST:g}")
        label = Label(self.id, self.class_, self.kind, read_coordinates(self.kind, self.coordinates), width)
        if draft.labels.setdefault(self.id, label) != label:
            raise RecipeError(f"there is another label {self.id}; give each an id of its own")


@dataclass(frozen=True)
class SetGeometry(Edit):
    """Move or reshape a label."""

    op: ClassVar[str] = "set_geometry"
    id: str
    coordinates: Any

    def change(self, draft: Draft) -> None:
        """Put the label elsewhere."""
        label = _label(draft, self.id)
        draft.labels[self.id] = replace(label, coordinates=read_coordinates(label.kind, self.coordinates))


@dataclass(frozen=True)
class SetClass(Edit):
    """Give labels another class."""

    op: ClassVar[str] = "set_class"
    ids: tuple[str, ...]
    class_: str

    def change(self, draft: Draft) -> None:
        """Change the labels' class."""
        _require_class(draft, self.class_)
        for name in self.ids:
            draft.labels[name] = replace(_label(draft, name), of=self.class_)


@dataclass(frozen=True)
class DeleteLabels(Edit):
    """Take labels away."""

    op: ClassVar[str] = "delete_labels"
    ids: tuple[str, ...]

    def change(self, draft: Draft) -> None:
        """Leave the labels out."""
        for name in self.ids:
            del draft.labels[_label(draft, name).id]


@dataclass(frozen=True)
class AddClass(Edit):
    """Add a class; without a colour or key it gets the next one."""

    op: ClassVar[str] = "add_class"
    id: str
    name: str
    colour: str = ""
    key: str | None = None

    def change(self, draft: Draft) -> None:
        """Add the class."""
        _require_id(self.id)
        if self.id in draft.classes:
            raise RecipeError(f"there is a class {self.id} already; give each an id of its own")
        if len(draft.classes) == _MOST_CLASSES:
            raise RecipeError(f"a map holds up to {_MOST_CLASSES} classes; merge some before adding another")
        own = ProjectClass(self.id, "", self.colour or free_colour(draft), "")
        taken = {entry.key for entry in draft.classes.values()}
        key = next((key for key in KEYS if key not in taken), "") if self.key is None else self.key
        draft.classes[self.id] = _described(draft, own, self.name, own.colour, key)


@dataclass(frozen=True)
class ChangeClass(Edit):
    """Name or colour a class anew; what is left out stays."""

    op: ClassVar[str] = "change_class"
    id: str
    name: str | None = None
    colour: str | None = None
    key: str | None = None

    def change(self, draft: Draft) -> None:
        """Describe the class anew."""
        own = _class(draft, self.id)
        given = (new if new is not None else old for new, old in self._pairs(own))
        draft.classes[self.id] = _described(draft, own, *given)

    def _pairs(self, own: ProjectClass) -> tuple[tuple[str | None, str], ...]:
        return (self.name, own.name), (self.colour, own.colour), (self.key, own.key)


@dataclass(frozen=True)
class MergeClass(Edit):
    """Make the labels of one class those of another, and take the first away."""

    op: ClassVar[str] = "merge_class"
    from_: str
    into: str

    def change(self, draft: Draft) -> None:
        """Move the labels."""
        _require_class(draft, self.into)
        if self.from_ == self.into:
            raise RecipeError("a class is merged into another one; received the same twice")
        del draft.classes[_class(draft, self.from_).id]
        for name, label in draft.labels.items():
            if label.of == self.from_:
                draft.labels[name] = replace(label, of=self.into)


@dataclass(frozen=True)
class DeleteClass(Edit):
    """Take a class away, with its labels."""

    op: ClassVar[str] = "delete_class"
    id: str

    def change(self, draft: Draft) -> None:
        """Leave the class and its labels out."""
        del draft.classes[_class(draft, self.id).id]
        for name in [name for name, label in draft.labels.items() if label.of == self.id]:
            del draft.labels[name]


EDITS: Mapping[str, type[Edit]] = {
    kind.op: kind
    for kind in (AddLabel, SetGeometry, SetClass, DeleteLabels, AddClass, ChangeClass, MergeClass, DeleteClass)
}
"""Every edit by what its JSON calls it."""

Step = Sequence[Mapping[str, Any]]
"""Edits that are done and undone together, as JSON."""


def read_step(rows: Any) -> tuple[Edit, ...]:
    """Return the edits of a step.

    Raises:
        RecipeError: if it is no list of edits, or one is not as it should be.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise RecipeError("expected a list of edits, at least one")
    return tuple(_read_edit(row, f"edit {number}") for number, row in enumerate(rows, start=1))


def _read_edit(row: Any, where: str) -> Edit:
    op = str(row.get("op")) if isinstance(row, Mapping) else ""
    if op not in EDITS:
        hint = nearest(op, list(EDITS))
        raise RecipeError(f"{where}: op = {op[:40]!r}; expected one of {', '.join(EDITS)}.{hint}")
    named = {f"{key}_" if keyword.iskeyword(key) else key: value for key, value in row.items() if key != "op"}
    return make_table(EDITS[op], named, where, error=RecipeError)


def apply_steps(state: ProjectState, steps: Iterable[Step]) -> ProjectState:
    """Return a state after further steps.

    Raises:
        RecipeError: if an edit does not fit; nothing is changed then.
    """
    draft = state.draft()
    for step in steps:
        for edit in read_step(step):
            edit.change(draft)
    return draft.state()


def free_colour(draft: Draft) -> str:
    """Return a colour that no class has: the next of the palette, or one made from their number."""
    taken = {entry.colour for entry in draft.classes.values()}
    number = len(draft.classes)
    made = (f"#{(2654435761 * (number + more)) & 0xFFFFFF:06x}" for more in range(_MOST_CLASSES + 1))
    return next(colour for colours in (PALETTE, made) for colour in colours if colour not in taken)


def read_coordinates(kind: Kind, given: Any) -> tuple[Any, ...]:
    """Return coordinates as tuples of numbers; rings are closed.

    Raises:
        RecipeError: if they are not nested as the kind wants it, or are too few.
    """
    found = _nested(kind, given, _DEPTHS[kind])
    if kind == "polygon":
        found = tuple(ring if ring[0] == ring[-1] else (*ring, ring[0]) for ring in found if ring)
    parts = found if kind == "polygon" else (found,)
    least = _FEWEST.get(kind, 0)
    if not parts or any(len(set(part)) < least for part in parts if kind != "point"):
        raise RecipeError(f"a {kind} has {least} different places at least, in each ring; received {str(given)[:80]}")
    return found


def _nested(kind: Kind, given: Any, depth: int) -> tuple[Any, ...]:
    """Return lists of lists as tuples of tuples, places as two floats."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        if depth:
            return tuple(_nested(kind, part, depth - 1) for part in given)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
        if numbers and len(given) == 2 and all(math.isfinite(value) and abs(value) < 1e9 for value in given):
            return tuple(map(float, given))
    shape = ("[column, row]", "[[column, row], ...]", "[[[column, row], ...], ...]")[_DEPTHS[kind]]
    raise RecipeError(f"coordinates of a {kind} are {shape} in pixels; received {str(given)[:80]}")


def _described(draft: Draft, own: ProjectClass, name: str, colour: str, key: str) -> ProjectClass:
    """Return a class with another name, colour and key, none of them another class's."""
    name, colour = " ".join(name.split()), colour.lower()
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise RecipeError(f"a class has a name of 1 to {_LONGEST_NAME} letters; received {name[:90]!r}")
    if not _COLOUR.fullmatch(colour):
        raise RecipeError(f"a colour is #rrggbb; received {colour!r}")
    if key and key not in KEYS:
        raise RecipeError(f"a class's key is one of {KEYS[0]} to {KEYS[-1]}, or none; received {key!r}")
    made = ProjectClass(own.id, name, colour, key)
    for other in draft.classes.values():
        for what in ("name", "colour", "key"):
            value = getattr(made, what)
            if other.id != own.id and value and getattr(other, what).casefold() == value.casefold():
                raise RecipeError(
                    f"{other.name} has the {what} {value} already; merge the two, or choose another {what}"
                )
    return made


def _require_id(name: str) -> None:
    if not _ID.fullmatch(name):
        raise RecipeError(f"an id is 1 to 64 letters, digits, - and _; received {name[:80]!r}")


def _class(draft: Draft, name: str) -> ProjectClass:
    if name not in draft.classes:
        raise RecipeError(f"there is no class {name[:80]!r}; it may be deleted by now. Read the project again")
    return draft.classes[name]


def _require_class(draft: Draft, name: str) -> None:
    _class(draft, name)


def _label(draft: Draft, name: str) -> Label:
    if name not in draft.labels:
        raise RecipeError(f"there is no label {name[:80]!r}; it may be deleted by now. Read the project again")
    return draft.labels[name]
