"""A map in the making: adapted to the labels so far, predicted where somebody looks, as `map_region` would do it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fewshot.errors import RecipeError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import Card
from fewshot.exported.predictor import Array, Predictor, Steps
from fewshot.geo.landcover import ClassTable
from fewshot.geo.remembering import RememberingScene
from fewshot.geo.scene_part import ScenePart
from fewshot.geo.windows import Window
from fewshot.mapping.applicable.measure import with_space
from fewshot.mapping.compare.contenders import Contender, ManyInAPicture, OnePictureEach
from fewshot.mapping.compare.folds import deal
from fewshot.mapping.compare.table import Ranged, measure
from fewshot.mapping.methods import Entry
from fewshot.mapping.predict.blend import assemble, predict_group
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.layout import WindowPlan, plan_windows
from fewshot.mapping.predict.parts import LEVELS, Block, Parts, in_levels
from fewshot.mapping.request import MapRequest
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.adaptation import adapt_to, read_labels, require_inductive
from fewshot.mapping.support.examples import SupportSet, UsedLabels, margin_around

Stage = Literal["coarse", "fine"]

_SHOWN: Mapping[Stage, int] = {"coarse": 160 * 160, "fine": 768 * 768}
"""Pixels that a stage predicts at most; a larger window is looked at with fewer than it has."""
_PATCHES: Mapping[Stage, int] = {"coarse": 1 << 8, "fine": 1 << 12}
"""Patches likewise, for models that answer once for each."""
_BLOCK = 16  # least pixels of the side of a square whose labels are held out together
_MARGIN = 4  # pixels read around a window at least, that its edge may be seen as a map sees it


class WatchedPredictor(Predictor):
    """A predictor that is asked before each call whether it is still wanted."""

    def __init__(self, predictor: Predictor, check: Callable[[], None]) -> None:
        """Watch a predictor.

        Args:
            predictor: That answers.
            check: Raises to stop what is going on.
        """
        self.predictor, self._check = predictor, check

    def read_card(self) -> Card:
        """Return the predictor's card."""
        return self.predictor.card()

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Call the predictor, unless `check` raises."""
        self._check()
        return self.predictor.call(signature, inputs)


@dataclass(frozen=True, eq=False)
class PreviewLabels:
    """The labels of a moment, as a model reads them.

    Attributes:
        support: Pictures around them.
        table: Their classes.
        used: What became of them.
    """

    support: SupportSet
    table: ClassTable
    used: UsedLabels


@dataclass(frozen=True, eq=False)
class PreviewPart:
    """A predicted part of a scene.

    Attributes:
        window: Of the scene.
        step: Its pixels along each side of a predicted one.
        classes: [H, W] int16, index of the class, -1 where there is no data.
        confidence: [H, W] float32, probability of that class, 0-1.
        runner_up: [H, W] int16, index of the class that is second.
        margin: [H, W] float32, how much more probable the first is than the second.
        reach: [H, W] float32, dissimilarity from the labels over the greatest at which the model is applicable, so over
            1 where it is not; None where it does not know.
    """

    window: Window
    step: int
    classes: npt.NDArray[np.int16]
    confidence: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.int16]
    margin: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32] | None = None

    @property
    def share_inside(self) -> float | None:
        """Share of the pixels with data where the model is applicable; None where it does not know, or none has any."""
        shown = self.classes >= 0
        return None if self.reach is None or not shown.any() else float((self.reach[shown] <= 1).mean())


class MapPreview:
    """Maps parts of a scene from labels that change."""

    def __init__(self, predictor: Predictor, request: MapRequest) -> None:
        """Open the scene; the labels' file need not be there yet.

        Args:
            predictor: The model, or a plain classifier, as `choose_method` returned it together with the request.
            request: Of the map that is being prepared.

        Raises:
            FewshotError: if the scene or the model cannot be used.
        """
        self.predictor, self.request = predictor, request
        self.card = self.predictor.card()
        require_inductive(self.card)
        self.scene = RememberingScene(open_scene(self.request.scenes, self.card, self.request.reading))

    def warm_up(self) -> None:
        """Let the model adapt and answer once for noise: what it prepares for its first call takes seconds."""
        size = self.card.size
        side = size.rows if self.card.output == "patch" else size.rows + 2 * margin_around(size)
        noise = np.random.default_rng(0).uniform(0, 1, (2, side, side, len(self.card.bands))).astype(np.float32)
        labels = np.array([0, 1]) if self.card.output == "patch" else np.indices((2, side, side))[0]
        self.predictor.predict(self.predictor.adapt(noise, labels, steps=self.steps("fine")), noise)

    def read_labels(self) -> PreviewLabels:
        """Read the labels as their file is now.

        Raises:
            RecipeError: if the request has none.
            FewshotError: if they cannot be used, or show a single class.
        """
        if self.request.labels is None:
            raise RecipeError("a map is previewed from labels: give some")
        return PreviewLabels(*read_labels(self.scene, self.card, self.request.labels, self.request.classes))

    def steps(self, stage: Stage) -> Steps:
        """Return the inner steps of a stage: none, or the model's own number where labels would choose it."""
        if self.card.limits.steps == 0:
            return None
        own = self.card.steps if self.request.steps in (None, "auto") else self.request.steps
        return 0 if stage == "coarse" else own

    def adapt(self, labels: PreviewLabels, steps: Steps) -> AdaptedModel:
        """Adapt to labels.

        Args:
            labels: As `read_labels` returned them.
            steps: As `steps` returned them.

        Raises:
            FewshotError: what the model raises.
        """
        return adapt_to(self.predictor, labels.support, labels.table, steps=steps)

    def with_space(self, labels: PreviewLabels, model: AdaptedModel) -> AdaptedModel:
        """Return an adapted model that knows how far it is applicable, as the map has it.

        Args:
            labels: As `read_labels` returned them.
            model: Adapted to them.

        Raises:
            RasterError: if they lie too close to each other to tell.
            FewshotError: what the model raises.
        """
        used = labels.used
        return with_space(model, self.predictor, self.scene.of_dates(used.places), used.examples, used.plan)

    def part(self, model: AdaptedModel, window: Window, stage: Stage) -> PreviewPart:
        """Predict a window of the scene.

        Args:
            model: Adapted; where it knows how far it is applicable, that is predicted too.
            window: Of the scene.
            stage: "coarse" is quick, "fine" as good as the map where the window is small enough.

        Raises:
            FewshotError: what reading the scene or the model raises.
        """
        step, windows = self._resolution(window, stage)
        part = ScenePart(self.scene, window, step)
        layout = plan_windows(self.card, part.size, windows, classes=len(model.values))
        plan = MapPlan(part, layout, model, all_probabilities=True)
        found = np.zeros((*part.size, len(plan.values)), np.uint16)
        unlike = np.zeros(part.size, np.uint16)
        for block in self._predicted(plan):
            if block.probabilities is not None:
                found[block.window.slices] = block.probabilities
            if block.dissimilarity is not None:
                unlike[block.window.slices] = block.dissimilarity
        shown, space = _summed_up(part, found), model.applicability
        if space is None:
            return shown
        most = max(float(in_levels(space.threshold)), 0.5)  # as `is_inside` has it, whatever is rounded
        return replace(shown, reach=(unlike / most).astype(np.float32))

    def cross_validate(self, labels: PreviewLabels) -> tuple[Ranged, int]:
        """Return the share of labels that the model tells without their surroundings, and how many were tested.

        As a comparison of methods does it, of this one alone and with the steps of the preview. Where all are right, or
        none, drawing squares anew shows no doubt; so the interval is at least Wilson's for as many squares.

        Args:
            labels: As `read_labels` returned them.

        Raises:
            RasterError: if no label can be held out.
            FewshotError: what the model raises.
        """
        card, examples = self.card, labels.used.examples
        steps, fixed = self.steps("fine"), card.label_space == "global"
        contender: Contender = OnePictureEach(self.predictor, labels.support, steps, fixed)
        if card.output == "pixel" and card.size.rows > 1:
            radius = labels.used.plan.radius
            contender = ManyInAPicture(self.predictor, labels.support, steps, fixed, radius)
        folds = deal(examples, _BLOCK * -(-card.size.rows // _BLOCK), seed=labels.used.plan.seed)
        entry = Entry(self.request.method or "adapted")
        answers = contender.held_out(examples, folds, len(labels.table.names))
        (figures,) = measure({entry: answers}, examples.labels, folds, {entry: card.title})
        found, squares = figures.accuracy, len(np.unique(folds.block[folds.tested]))
        low, high = _wilson(found.value, squares)
        return Ranged(found.value, min(found.low, low), max(found.high, high)), int(folds.tested.sum())

    def _predicted(self, plan: MapPlan) -> Iterator[Block]:
        parts: dict[int, Parts] = {}
        for group in range(len(plan.layout)):
            parts[group] = predict_group(plan, group, self.predictor)
            yield assemble(plan, group, parts.__getitem__)

    def _resolution(self, window: Window, stage: Stage) -> tuple[int, WindowPlan]:
        """Return with how few pixels a window is looked at, and by which windows of the model."""
        area, side = window.height * window.width, self.card.size.rows
        if self.card.output == "pixel":
            step = max(1, math.ceil(math.sqrt(area / _SHOWN[stage])))
            return step, fitting_windows(self.card, (-(-window.height // step), -(-window.width // step)))
        stride = max(side // 4, math.ceil(math.sqrt(area / _PATCHES[stage])))
        return max(1, math.ceil(stride / side)), WindowPlan(stride=min(stride, side))


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of so many (Wilson 1927)."""
    z2 = 1.96**2
    middle, spread = share + z2 / (2 * count), math.sqrt(z2 * share * (1 - share) / count + z2**2 / (4 * count**2))
    return (middle - spread) / (1 + z2 / count), (middle + spread) / (1 + z2 / count)


def fitting_windows(card: Card, size: tuple[int, int]) -> WindowPlan:
    """Return the windows that cover a part with the fewest pixels, where the model reads any size."""
    if not card.size.free or card.size.rows == 1:
        return WindowPlan()
    step, margin = card.size.multiple_of, max(card.size.around, _MARGIN)

    def cost(side: int) -> int:
        counts = (1 + max(0, math.ceil((length - side + 2 * margin) / (side - 4 * margin))) for length in size)
        return math.prod(counts) * side**2

    least = -(-max(card.size.smallest, 8 * margin) // step) * step
    sides = range(least, card.size.largest + 1, step)
    return WindowPlan(size=min(sides, key=cost), overlap=4 * margin) if sides else WindowPlan()


def _summed_up(part: ScenePart, probabilities: npt.NDArray[np.uint16]) -> PreviewPart:
    """Return the first and the second class of each pixel; a pixel without data has no probability.

    Class by class, which is much faster than to sort so few numbers of so many pixels.
    """
    one, two = (np.ascontiguousarray(probabilities[..., number]) for number in (0, 1))
    greatest, next_to_it, leads = np.maximum(one, two), np.minimum(one, two), two > one
    first, second = leads.astype(np.int16), (~leads).astype(np.int16)
    for number in range(2, probabilities.shape[-1]):
        own = np.ascontiguousarray(probabilities[..., number])
        leads = own > greatest
        np.copyto(second, np.int16(number), where=own > next_to_it)
        np.copyto(second, first, where=leads)
        np.copyto(first, np.int16(number), where=leads)
        np.maximum(next_to_it, np.minimum(own, greatest), out=next_to_it)
        np.maximum(greatest, own, out=greatest)
    return PreviewPart(
        part.covered,
        part.step,
        np.where(greatest > 0, first, np.int16(-1)),
        greatest.astype(np.float32) / np.float32(LEVELS),
        second,
        (greatest - next_to_it).astype(np.float32) / np.float32(LEVELS),
    )
