"""What a project is at a moment: its classes, and its labels in pixels of the scene. All of it is made of edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["point", "polygon", "line", "brush"]

Coordinates = tuple[Any, ...]
"""As GeoJSON nests them: a point (column, row), a line ((column, row), ...), a polygon of rings; in pixels, from the
outer corner of the first one."""


@dataclass(frozen=True)
class ProjectClass:
    """A class that places are labelled with.

    Attributes:
        id: Unique in the project; stays when the class is named anew.
        name: Unique too.
        colour: "#rrggbb".
        key: That chooses it on the keyboard, "1" to "9"; "" for none.
    """

    id: str
    name: str
    colour: str
    key: str = ""


@dataclass(frozen=True)
class Label:
    """A labelled place.

    Attributes:
        id: Unique in the project.
        of: Id of its class.
        kind: What was drawn.
        coordinates: Where.
        width: Pixels of a line or brush; 0 for the pixels that a line runs through.
    """

    id: str
    of: str
    kind: Kind
    coordinates: Coordinates
    width: float = 0.0


@dataclass(frozen=True)
class ProjectState:
    """The classes and labels after some edits.

    Attributes:
        classes: By id, in the order in which they are shown.
        labels: By id, in the order in which they were made.
    """

    classes: Mapping[str, ProjectClass] = field(default_factory=lambda: MappingProxyType({}))
    labels: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def counts(self) -> dict[str, int]:
        """How many labels there are of each class, by its id."""
        counted = Counter(label.of for label in self.labels.values())
        return {name: counted[name] for name in self.classes}

    def draft(self) -> Draft:
        """Return a copy that edits change."""
        return Draft(dict(self.classes), dict(self.labels))


@dataclass
class Draft:
    """A state that is being changed.

    Attributes:
        classes: By id.
        labels: By id.
    """

    classes: dict[str, ProjectClass]
    labels: dict[str, Label]

    def state(self) -> ProjectState:
        """Return what it has become."""
        return ProjectState(MappingProxyType(self.classes), MappingProxyType(self.labels))
