"""A model adapted to the classes of a region or of pictures, as a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, DataNotFoundError
from fewshot.exported.applicability import Applicability
from fewshot.exported.card import Card
from fewshot.exported.predictor import AdaptedVector, SupportLoss
from fewshot.files import write_whole
from fewshot.geo.landcover import ClassTable, LandClass

FloatArray = npt.NDArray[np.float32]

LEAST = 1e-4
"""Probabilities below this count as this where they are calibrated or multiplied: none is impossible."""


def with_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Soften probabilities [..., classes] with a temperature over 1, sharpen them with one below; the order stays."""
    # A product of float32 and a Python float is float32.
    powers = np.maximum(probabilities, LEAST) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A model adapted to some classes, with what they are called.

    Attributes:
        adapted: What `predict` takes.
        table: The classes, in the order of the model's answers.
        values: Number of each class in a map.
        fingerprint: Of the model it was adapted from.
        temperature: What its probabilities are calibrated with: each to the power of 1 / temperature.
        applicability: How far from its labels it holds, where that was measured.
    """

    adapted: AdaptedVector
    table: ClassTable
    values: tuple[int, ...]
    fingerprint: int
    temperature: float = 1.0
    applicability: Applicability | None = None

    @property
    def classes(self) -> dict[int, LandClass]:
        """The classes by their numbers in a map, in the order of the model's answers."""
        return dict(zip(self.values, self.table.classes, strict=True))

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Return calibrated probabilities for those [..., classes] that the model answers; the order stays."""
        return with_temperature(probabilities, self.temperature) if self.temperature != 1 else probabilities

    def save(self, path: Path) -> None:
        """Write it to a file; the file appears under its name only when it is whole.

        Raises:
            ArtifactError: if it cannot be written.
        """
        classes = [
            {"name": entry.name, "ids": list(entry.ids), "colour": entry.colour, "value": value}
            for value, entry in self.classes.items()
        ]
        about = {"fewshot_adapted": 1, "fingerprint": self.fingerprint, "table": self.table.name, "classes": classes}
        if self.temperature != 1:
            about["temperature"] = self.temperature
        if self.adapted.steps is not None:
            about["steps"] = self.adapted.steps
        arrays: dict[str, Any] = {"vector": self.adapted.vector, "support_loss": np.array(self.adapted.support_loss)}
        arrays |= self.applicability.arrays() if self.applicability else {}
        if self.adapted.confusion is not None:
            arrays["confusion"] = self.adapted.confusion

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                np.savez(file, about=json.dumps(about), **arrays)

        try:
            write_whole(path, write)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be written: {error}.") from error

    @classmethod
    def load(cls, path: Path, card: Card) -> Self:
        """Read what `save` wrote, to use it with the model that has this card.

        Raises:
            DataNotFoundError: if there is no such file.
            ArtifactError: if it is not an adapted model, or was adapted from another one.
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
                vector = np.asarray(parts["vector"], np.float32)
                confusion = np.asarray(parts["confusion"], np.int32) if "confusion" in parts else None
                model = cls(
                    AdaptedVector(vector, len(entries), SupportLoss(before, after), about.get("steps"), confusion),
                    ClassTable(about["table"], entries),
                    tuple(entry["value"] for entry in about["classes"]),
                    about["fingerprint"],
                    float(about.get("temperature", 1.0)),
                    Applicability.of_arrays(parts),
                )
        except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
            raise ArtifactError(
                f"{path} is not an adapted model as `fewshot map --save-adapted` writes it: {error}."
            ) from None
        model.require_model(card, where=str(path))
        return model

    def require_model(self, card: Card, *, where: str) -> None:
        """Refuse what was adapted from another model; `where` is what this was read from, for the error.

        Raises:
            ArtifactError: if the model it was adapted from is not the one with this card.
        """
        if self.fingerprint != card.adapted.fingerprint:
            raise ArtifactError(
                f"{where} was adapted from another model, or another version of it, than {card.title!r}. Use that "
                "model, or adapt this one: leave --adapted out and give --labels."
            )
