"""What mapping asks of a model: a predictor that adapts, its card, and the adapted model as a file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, DataNotFoundError
from fewshot.files import write_whole
from fewshot.geo.landcover import ClassTable, LandClass


class BandNote(Protocol):
    """One band as clients send it: the network reads `scale * value + offset`, in `unit`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102
    @property
    def offset(self) -> float: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def wavelength(self) -> float | None: ...  # noqa: D102
    @property
    def nodata(self) -> float | None: ...  # noqa: D102


class ClassNote(Protocol):
    """One class of a global label space."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def colour(self) -> str | None: ...  # noqa: D102
    @property
    def ids(self) -> Sequence[int]: ...  # noqa: D102


class SizeNote(Protocol):
    """Rows and columns of a picture; the least, the most and the step where they are free."""

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def columns(self) -> int: ...  # noqa: D102
    @property
    def free(self) -> bool: ...  # noqa: D102
    @property
    def smallest(self) -> int: ...  # noqa: D102
    @property
    def largest(self) -> int: ...  # noqa: D102
    @property
    def multiple_of(self) -> int: ...  # noqa: D102


class LimitsNote(Protocol):
    """The most that one request may ask for."""

    @property
    def examples(self) -> int: ...  # noqa: D102
    @property
    def classes(self) -> int: ...  # noqa: D102


class AdaptedNote(Protocol):
    """What tells one model's adapted vectors from another's."""

    @property
    def fingerprint(self) -> int: ...  # noqa: D102


class Card(Protocol):
    """What a model says of itself, as far as mapping reads it."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def bands(self) -> Sequence[BandNote]: ...  # noqa: D102
    @property
    def value_type(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> SizeNote: ...  # noqa: D102
    @property
    def output(self) -> str: ...  # noqa: D102
    @property
    def label_space(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[ClassNote]: ...  # noqa: D102
    @property
    def limits(self) -> LimitsNote: ...  # noqa: D102
    @property
    def transductive(self) -> bool: ...  # noqa: D102
    @property
    def adapted(self) -> AdaptedNote: ...  # noqa: D102
    def to_json(self) -> str: ...  # noqa: D102


class Answer(Protocol):
    """What a model answers: [m, classes] or [m, H, W, classes] float32, and the greatest, the first of equals."""

    @property
    def probabilities(self) -> npt.NDArray[np.float32]: ...  # noqa: D102
    @property
    def class_index(self) -> npt.NDArray[np.integer]: ...  # noqa: D102


class Adapted(Protocol):
    """A model adapted to a support set."""

    @property
    def vector(self) -> npt.NDArray[np.float32]: ...  # noqa: D102
    @property
    def classes(self) -> int: ...  # noqa: D102
    @property
    def support_loss(self) -> tuple[float, float]: ...  # noqa: D102


class Predictor(Protocol):
    """A model that adapts, here or on a server."""

    def card(self) -> Card: ...  # noqa: D102
    def adapt(  # noqa: D102
        self, support_x: npt.ArrayLike, support_y: npt.ArrayLike, *, steps: int | None = None
    ) -> Adapted: ...
    def predict(self, adapted: Any, query_x: npt.ArrayLike) -> Answer: ...  # noqa: D102


@dataclass(frozen=True)
class ModelSource:
    """How to open a model, in this process or another one; equal ones open the same model.

    Attributes:
        open: A function that other processes can import.
        target: Its argument: a folder or an address.
    """

    open: Callable[[str], Predictor]
    target: str


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A model adapted to the classes of a region, with what they are called.

    Attributes:
        vector: What `predict` takes.
        table: The classes, in the order of the model's answers.
        values: Number of each class in the map.
        support_loss: Before the first inner step and after the last.
        fingerprint: Of the model it was adapted from.
    """

    vector: npt.NDArray[np.float32]
    table: ClassTable
    values: tuple[int, ...]
    support_loss: tuple[float, float]
    fingerprint: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.values)

    def save(self, path: Path) -> None:
        """Write it to a file; the file appears under its name only when it is whole.

        Raises:
            ArtifactError: if it cannot be written.
        """
        classes = [
            {"name": entry.name, "ids": list(entry.ids), "colour": entry.colour, "value": value}
            for entry, value in zip(self.table.classes, self.values, strict=True)
        ]
        about = {"fewshot_adapted": 1, "fingerprint": self.fingerprint, "table": self.table.name, "classes": classes}

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                np.savez(file, vector=self.vector, support_loss=np.array(self.support_loss), about=json.dumps(about))

        try:
            write_whole(path, write)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be written: {error}.") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataNotFoundError: if there is no such file.
            ArtifactError: if it is not an adapted model.
        """
        if not path.exists():
            raise DataNotFoundError(f"There is no adapted model {path}. `fewshot map --save-adapted FILE` makes one.")
        try:
            with np.load(path, allow_pickle=False) as parts:
                about = json.loads(str(parts["about"]))
                before, after = (float(value) for value in parts["support_loss"])
                entries = tuple(
                    LandClass(entry["name"], tuple(entry["ids"]), tuple(entry["colour"]) if entry["colour"] else None)
                    for entry in about["classes"]
                )
                return cls(
                    np.asarray(parts["vector"], np.float32),
                    ClassTable(about["table"], entries),
                    tuple(entry["value"] for entry in about["classes"]),
                    (before, after),
                    about["fingerprint"],
                )
        except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
            raise ArtifactError(
                f"{path} is not an adapted model as `fewshot map --save-adapted` writes it: {error}."
            ) from None

    def require_model(self, card: Card, *, where: str) -> None:
        """Refuse a vector of another model.

        Raises:
            ArtifactError: if the model it was adapted from is not the one with this card.
        """
        if self.fingerprint != card.adapted.fingerprint:
            raise ArtifactError(
                f"{where} was adapted from another model, or another version of it, than {card.title!r}. Use that "
                "model, or adapt this one: leave --adapted out and give --labels."
            )
