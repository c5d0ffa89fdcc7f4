"""Classifies pictures: adapt to a folder of labelled ones, whose folders are the classes, and say what others show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand, red_green_blue
from fewshot.data.images import decode_image
from fewshot.errors import ArtifactError, DamagedDataError, DataNotFoundError, FewshotError, ManifestError, RecipeError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import Card
from fewshot.exported.predictor import Predictor, Steps
from fewshot.geo.landcover import ClassTable, LandClass
from fewshot.geo.rasters import read_image

PICTURES = (".png", ".jpg", ".jpeg")
RASTERS = (".tif", ".tiff")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PictureRequest:
    """What is to be classified, and from what.

    Attributes:
        query: A picture, or a folder of pictures.
        support: A folder with a folder of pictures for each class; or
        adapted: A model adapted before, as `save_adapted` wrote it.
        steps: Inner steps; the model's own number if None; "auto" lets the support decide.
        save_adapted: File to keep the adapted model in.
    """

    query: Path
    support: Path | None = None
    adapted: Path | None = None
    steps: Steps = None
    save_adapted: Path | None = None

    def __post_init__(self) -> None:
        """Check what goes together."""
        if (self.support is None) == (self.adapted is None):
            raise RecipeError("a prediction needs examples, or a model adapted before: --support or --adapted")


@dataclass(frozen=True, eq=False)
class PictureReport:
    """What a model says of pictures.

    Attributes:
        paths: The m pictures.
        names: The classes.
        probabilities: [m, classes] float32.
        truth: [m] class of each picture's folder, -1 where that is none of the classes.
        support_loss: Before the first inner step and after the last.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    probabilities: FloatArray
    truth: npt.NDArray[np.int64]
    support_loss: tuple[float, float]

    @property
    def chosen(self) -> npt.NDArray[np.int64]:
        """Return the most probable class [m]."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def accuracy(self) -> float | None:
        """Return the share that is right of the pictures whose folder is a class; None if there are none."""
        known = self.truth >= 0
        return float(np.mean(self.chosen[known] == self.truth[known])) if known.any() else None

    def lines(self) -> Iterator[str]:
        """Say the same in words, a line a picture."""
        for path, index, row in zip(self.paths, self.chosen, self.probabilities, strict=True):
            yield f"{path}: {self.names[index]} ({100 * row[index]:.0f} %)"
        before, after = self.support_loss
        yield f"Support loss {before:.3f} before adaptation, {after:.3f} after."
        if self.accuracy is not None:
            known = int(np.count_nonzero(self.truth >= 0))
            yield f"{100 * self.accuracy:.1f} % of {known} pictures are of the class that their folder is named after."

    def plain(self) -> dict[str, Any]:
        """Return the same as JSON takes it."""
        rows = [
            {"file": str(path), "class": self.names[index], "probabilities": dict(zip(self.names, row, strict=True))}
            for path, index, row in zip(self.paths, self.chosen, self.probabilities.tolist(), strict=True)
        ]
        about = {"classes": list(self.names), "support_loss": list(self.support_loss), "accuracy": self.accuracy}
        return {**about, "predictions": rows}


def classify_pictures(predictor: Predictor, request: PictureRequest) -> PictureReport:
    """Adapt to the labelled pictures, or take a model adapted before, and classify the others.

    Raises:
        DataNotFoundError: if a folder is missing or empty, or there are not two classes.
        DamagedDataError: if a picture cannot be read or does not fit the model.
        ManifestError: if the model's classes are fixed, and a folder is named otherwise.
        ArtifactError: if the model labels pixels, or the adapted model is of another one.
        FewshotError: what the model raises.
    """
    card = predictor.card()
    if card.output != "patch":
        raise ArtifactError(f"{card.title!r} labels every pixel of a scene; use it with `fewshot map`.")
    if request.support is not None:
        model = _adapt_to(predictor, card, request.support, request.steps)
    else:
        model = AdaptedModel.load(request.adapted or Path(), card)
    if request.save_adapted is not None:
        model.save(request.save_adapted)
    paths = find_pictures(request.query)
    answer = predictor.predict(model.adapted, read_pictures(paths, card))
    names = model.table.names
    truth = np.array([names.index(path.parent.name) if path.parent.name in names else -1 for path in paths], np.int64)
    probabilities = model.calibrated(answer.probabilities)
    return PictureReport(tuple(paths), names, probabilities, truth, model.adapted.support_loss)


def _adapt_to(predictor: Predictor, card: Card, support: Path, steps: Steps) -> AdaptedModel:
    """Adapt a model to a folder of folders, whose names are the classes."""
    if not support.is_dir():
        raise DataNotFoundError(f"there is no folder {support}; expected one with a folder of pictures for each class")
    found = {path.name: find_pictures(path) for path in sorted(support.iterdir()) if path.is_dir()}
    if len(found) < 2:
        raise DataNotFoundError(
            f"{support} has {len(found)} folders of pictures; expected one for each class, and at least two classes"
        )
    names = [entry.name for entry in card.classes] if card.label_space == "global" else list(found)
    foreign = [name for name in found if name not in names]
    if foreign:
        raise ManifestError(
            f"{support} has folders {', '.join(foreign)}; the model knows {', '.join(names)}, and no others. "
            "Name the folders so, or export a model with a prototype or shared head, which takes any classes."
        )
    paths = [path for pictures in found.values() for path in pictures]
    labels = np.repeat([names.index(name) for name in found], [len(pictures) for pictures in found.values()])
    adapted = predictor.adapt(read_pictures(paths, card), labels.astype(np.int32), steps=steps)
    table = ClassTable(support.name, tuple(LandClass(name, (number,)) for number, name in enumerate(names, start=1)))
    return AdaptedModel(adapted, table, tuple(range(1, len(names) + 1)), card.adapted.fingerprint)


def find_pictures(place: Path) -> list[Path]:
    """List the pictures in a folder and those below it, by name; or the one that is named.

    Raises:
        DataNotFoundError: if there is none.
    """
    found = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    kept = [path for path in found if path.suffix.lower() in (*PICTURES, *RASTERS)]
    if not kept:
        raise DataNotFoundError(f"there is no picture (png, jpg or tif) in {place}")
    return kept


def read_pictures(paths: Sequence[Path], card: Card) -> FloatArray:
    """Read pictures as the model's card asks for them, area-averaged to its size.

    Returns:
        Values [n, H, W, bands] float32 as they are sent.

    Raises:
        DamagedDataError: if one cannot be read, is smaller than the model's pictures, has other bands, or is not square
            where those are.
    """
    return np.stack([_read_picture(path, card) for path in paths])


def _read_picture(path: Path, card: Card) -> FloatArray:
    """Read one picture [H, W, bands]."""
    rows, columns, bands = card.size.rows, card.size.columns, len(card.bands)
    size = rows if rows == columns else None  # others are taken as they are
    try:
        if path.suffix.lower() in RASTERS:
            pixels, native = read_image(path, size=size)
        else:
            pixels, native = decode_image(path.read_bytes(), size, "L" if bands == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, FewshotError) as error:
        raise DamagedDataError(f"{path} cannot be read as a picture: {error}") from error
    pixels = _among_bands(pixels, card)
    if pixels.shape[2] != bands:
        wanted = ", ".join(band.name for band in card.bands)
        raise DamagedDataError(f"{path} has {pixels.shape[2]} bands; the model reads {bands}: {wanted}")
    if size is None and tuple(native) != (rows, columns):
        raise DamagedDataError(
            f"{path} has {native[0]}x{native[1]} pixels; the model reads pictures of {rows}x{columns} pixels"
        )
    if size is not None and (native[0] != native[1] or native[0] < size):
        raise DamagedDataError(
            f"{path} has {native[0]}x{native[1]} pixels; the model reads squares of {size} pixels, and larger squares "
            "are averaged to that. Cut it to a square first."
        )
    return pixels.astype(np.float32)


def _among_bands(pixels: FloatArray, card: Card) -> FloatArray:
    """Put three colours [H, W, 3] among the bands of a model that lets others be missing; 0 stands for those."""
    colours = colours_of(card)
    if not card.missing_bands or colours is None or pixels.shape[2] != len(colours):
        return pixels
    among = np.zeros((*pixels.shape[:2], len(card.bands)), np.float32)
    among[..., list(colours)] = pixels
    return among


def colours_of(card: Card) -> tuple[int, int, int] | None:
    """Return which of a model's bands, from 0, are red, green and blue; None where one is missing."""
    return red_green_blue([StoredBand(band.name, band.wavelength) for band in card.bands])


def draw_pictures(report: PictureReport, card: Card, path: Path, *, most: int = 60) -> Path:
    """Draw the first pictures with the class and the probability that the model gives them.

    Args:
        report: What to draw.
        card: Of the model.
        path: PNG to write; its folder is made if missing.
        most: Pictures to draw.
    """
    from matplotlib.figure import Figure

    count = min(most, len(report.paths))
    columns = min(10, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.25 * columns + 0.3, 1.5 * rows + 0.3), layout="constrained", dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    images = read_pictures(report.paths[:count], card)
    colours = colours_of(card) or (range(3) if images.shape[-1] >= 3 else (0, 0, 0))
    shown = images[..., list(colours)]
    low, high = np.percentile(shown, 1), np.percentile(shown, 99)
    for axes in grid:
        axes.set_axis_off()
    answers = zip(report.chosen, report.probabilities, report.truth, strict=True)
    for axes, image, (index, row, truth) in zip(grid, shown, answers, strict=False):
        axes.imshow(np.clip((image - low) / max(high - low, 1e-6), 0, 1), interpolation="nearest")
        colour = "black" if truth < 0 else "green" if truth == index else "red"
        axes.set_title(f"{report.names[index]}\n{100 * row[index]:.0f} %", fontsize=7, color=colour, pad=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
