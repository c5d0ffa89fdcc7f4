"""The card: what an exported model says of itself, on disk (`assets.extra/card.json`) and over the API (`card`).

Whoever sends pictures to a model needs nothing but its card: which bands in which order, what one stored unit is
worth, how large a picture may be, which classes, how many steps, and what the answers were measured to be worth.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import ArtifactError
from fewshot.tables import make_table

FORMAT, FORMAT_VERSION = "fewshot-card", 1
CARD_NAME = "card.json"
AUTO_STEPS = -1
"""Asked for in place of a number of inner steps, to let the support set decide."""
EXTRA = "assets.extra"
"""The folder of a SavedModel that loaders leave alone."""


@dataclass(frozen=True)
class CardBand:
    """One band as clients send it: the network reads `scale * value + offset`.

    Attributes:
        name: Such as "red" or "B4".
        scale: What one unit is worth to the network.
        offset: What is added to it.
        unit: Of what the network reads, such as "reflectance".
        stored: Type and range of the values that clients send, such as "uint8, 0-255".
        wavelength: Centre, in nm; None for what is not optical or not known.
        nodata: Value that stands for no data where a file does not say; None where there is none.
        width: Full width at half maximum, in nm; None where it is not known.
    """

    name: str
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    stored: str = ""
    wavelength: float | None = None
    nodata: float | None = None
    width: float | None = None


@dataclass(frozen=True)
class ClassEntry:
    """One class of a global label space.

    Attributes:
        name: Of the class; its label is its place in the card's list.
        colour: "#rrggbb", for maps; None where none is agreed on.
        ids: Numbers that stand for it in the label rasters it was trained on; empty where it has none.
    """

    name: str
    colour: str | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class InputSize:
    """Rows and columns of a picture, in pixels.

    Attributes:
        rows: In training.
        columns: In training.
        free: Whether other sizes are taken too; support and query may then differ.
        smallest: Least rows and columns, where free.
        largest: Most rows and columns, where free.
        multiple_of: What rows and columns must be a multiple of, where free.
        around: Pixels around a pixel that its answer needs at least, so that windows of maps overlap by more where they
            are small.
    """

    rows: int
    columns: int
    free: bool = False
    smallest: int = 1
    largest: int = 1
    multiple_of: int = 1
    around: int = 0


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for.

    Attributes:
        steps: Inner steps.
        examples: Support pictures.
        queries: Query pictures.
        classes: Classes of a task; the classes of the label space where that is fixed.
        gflop: Floating-point operations, in thousands of millions, as the card's cost counts them.
        megabytes: Memory for what the network computes, as the card's cost counts it.
    """

    steps: int = 50
    examples: int = 512
    queries: int = 4096
    classes: int = 100
    gflop: float = 20_000.0
    megabytes: float = 4096.0


@dataclass(frozen=True)
class PixelCost:
    """What the network takes for each pixel of a picture that it looks at once, in all its views.

    Attributes:
        flop: Floating-point operations.
        numbers: Numbers that it computes, which a step of adaptation keeps until it is done.
    """

    flop: float
    numbers: float


@dataclass(frozen=True)
class MeasuredAccuracy:
    """What `fewshot evaluate` measured.

    Attributes:
        mean: Mean accuracy over tasks, 0-1.
        ci95: Half the width of its 95 % interval.
        tasks: How many tasks.
        ways: Classes a task.
        shots: Support examples a class; a list where classes differ.
        steps: Inner steps.
        data: The regions it was measured on.
        split: The part of the run's own data that these are, or "test" for other data; empty where it was not kept.
        seed: Of the tasks.
    """

    mean: float
    ci95: float
    tasks: int
    ways: int
    shots: Any
    steps: int
    data: str
    split: str = ""
    seed: int = 0


@dataclass(frozen=True)
class DataSource:
    """The data a model was trained on.

    Attributes:
        name: Of the data set.
        licence: Of the data.
        citation: How to cite it.
        homepage: Where it comes from.
        simulated: Whether it is simulated, so that nothing found on it holds for the Earth.
    """

    name: str
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    simulated: bool = False


@dataclass(frozen=True)
class Rates:
    """Inner learning rates.

    Attributes:
        kind: `constant`, `per_tensor` or `per_parameter`.
        initial: Where they started.
        smallest: Least value after training.
        mean: Mean value after training.
        largest: Greatest value after training.
    """

    kind: str
    initial: float
    smallest: float
    mean: float
    largest: float


@dataclass(frozen=True)
class AdaptedLayout:
    """How long the vector of `adapt` is: `fixed + per_class * classes` numbers.

    Attributes:
        fixed: Numbers that do not depend on the classes; the first is the fingerprint.
        per_class: Numbers of each class.
        fingerprint: A whole number that only vectors of this very model begin with.
        features: What the network makes of a picture, or of a pixel, in numbers; 0 in older cards, which do not say.
    """

    fixed: int
    per_class: int
    fingerprint: int
    features: int = 0

    @property
    def width(self) -> int:
        """How many numbers the features have; where the card does not say, those of a linear layer."""
        return self.features or self.per_class - 1


@dataclass(frozen=True)
class TensorNote:
    """One input or output of a signature.

    Attributes:
        dtype: NumPy's name of its type; "string" for bytes and text.
        shape: Axes as words, such as "[n, 64, 64, 3]"; "[]" for one value.
        meaning: One line.
    """

    dtype: str
    shape: str
    meaning: str


@dataclass(frozen=True)
class SignatureNote:
    """One signature.

    Attributes:
        purpose: One line.
        inputs: By name; every one of them must be sent.
        outputs: By name.
    """

    purpose: str
    inputs: dict[str, TensorNote]
    outputs: dict[str, TensorNote]


@dataclass(frozen=True)
class Card:
    """What an exported model says of itself.

    Attributes:
        title: One line for people.
        bands: In the order of a picture's last axis.
        value_type: "uint8" where values are whole numbers 0-255, else "float32"; sent as numbers either way.
        size: Rows and columns.
        output: "patch", one label a picture; or "pixel", one a pixel.
        label_space: "task", labels are the request's own, 0 up to the number of its classes; or "global".
        classes: The global label space; empty for "task".
        head: `fixed`, `shared` or `prototype`.
        outputs: Labels of a fixed head; None where each request has its own number.
        steps: Inner steps to ask for by default.
        limits: The most a request may ask for.
        rates: Inner learning rates.
        transductive: Whether a query's answer depends on the other queries of its request.
        data: What it was trained on.
        recipe: The training recipe, resolved.
        adapted: Length of the adapted vector.
        accuracy: Measured accuracy; None where none was kept with the run.
        versions: Of the program and the libraries that exported it.
        signatures: What can be called.
        unit_free: Whether any unit does, with any scale and offset of each band, the same in support and queries.
        missing_bands: Whether bands may be missing, 0 being sent for them throughout support and queries.
        cost: What the network takes for a pixel; None where it was exported before that was counted.
    """

    title: str
    bands: tuple[CardBand, ...]
    value_type: Literal["uint8", "float32"]
    size: InputSize
    output: Literal["patch", "pixel"]
    label_space: Literal["task", "global"]
    classes: tuple[ClassEntry, ...]
    head: str
    outputs: int | None
    steps: int
    limits: Limits
    rates: Rates
    transductive: bool
    data: DataSource
    recipe: dict[str, Any]
    adapted: AdaptedLayout
    accuracy: MeasuredAccuracy | None = None
    versions: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, SignatureNote] = field(default_factory=dict)
    unit_free: bool = False
    missing_bands: bool = False
    cost: PixelCost | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    def to_json(self) -> str:
        """Return the card as JSON text."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False)


def card_from_json(text: str | bytes, *, where: str = "the card") -> Card:
    """Read what `Card.to_json` returned, here or `where`; keys that this version does not know are left out.

    Raises:
        ArtifactError: if it is not a card, or lacks a part.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{where} is not JSON: {error}.") from None
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise ArtifactError(f"{where} is not the card of an exported model. Export one with `fewshot export`.")
    if content.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{where} is of format version {content.get('format_version')!r}; this program reads {FORMAT_VERSION}. "
            "Export the run again, or install the program's version that exported it."
        )
    try:
        return make_table(Card, content, where, error=ArtifactError, skip_unknown=True)
    except ArtifactError as error:
        raise ArtifactError(f"{error} Export the run again.") from None


def read_card(model: Path) -> Card:
    """Read the card of a SavedModel folder.

    Raises:
        ArtifactError: if the folder is not an exported model, or its card is damaged.
    """
    path = model / EXTRA / CARD_NAME
    try:
        return card_from_json(path.read_text(encoding="utf-8"), where=str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            f"{model} is not an exported model: it has no {EXTRA}/{CARD_NAME}. `fewshot export RUN --to DIR` makes one."
        ) from None
