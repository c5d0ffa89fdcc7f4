"""The heads by name."""

from __future__ import annotations

from fewshot.errors import RecipeError
from fewshot.models.heads import CosineHead, FixedHead, Head, PrototypeHead, SharedHead
from fewshot.models.reading import KEPT, MatchingHead, MemoryHead, PropagationHead, RelationHead, SiameseHead
from fewshot.models.sequences import LstmHead, MannHead, SequenceHead, SnailHead
from fewshot.models.solvers import LogisticHead, MachineHead, RidgeHead, SolvingHead

HEADS: dict[str, type[Head]] = {
    "fixed": FixedHead,
    "shared": SharedHead,
    "prototype": PrototypeHead,
    "cosine": CosineHead,
    "ridge": RidgeHead,
    "logistic": LogisticHead,
    "svm": MachineHead,
    "matching": MatchingHead,
    "siamese": SiameseHead,
    "relation": RelationHead,
    "propagation": PropagationHead,
    "lstm": LstmHead,
    "mann": MannHead,
    "snail": SnailHead,
}


def make_head(  # noqa: PLR0913  what heads of several kinds can be told
    kind: str,
    *,
    outputs: int | None = None,
    shots: int = 1,
    restrict: bool = False,
    strength: float = 0.0,
    scale: float = 1.0,
    kept: int = KEPT,
) -> Head:
    """Make a head by name.

    Args:
        kind: One of `HEADS`.
        outputs: Global classes or regression targets, for a fixed head; the classes of a sequence.
        shots: For a head that reads a sequence: examples of a class in it.
        restrict: For a fixed head: rule out classes that the support set does not show.
        strength: For a solving head: where its regularisation starts; 0 for a tenth of the number of features.
        scale: For a solving head: of its logits, where it starts.
        kept: For a head that reads single examples: how many of a class, at most.

    Raises:
        RecipeError: if the kind is unknown, or lacks the number of outputs that it needs.
    """
    if kind not in HEADS:
        raise RecipeError(f"Unknown head {kind!r}; expected one of {', '.join(HEADS)}.")
    made = HEADS[kind]
    if issubclass(made, FixedHead | SequenceHead):
        if outputs is None:
            raise RecipeError(f"Head {kind!r} needs the number of classes; the data or the recipe must give it.")
        if issubclass(made, FixedHead):
            return made(outputs, restrict=restrict, name="head")
        return made(outputs, shots=shots, name="head")
    if issubclass(made, SolvingHead):
        return made(strength=strength, scale=scale, name="head")
    return made(kept=kept, name="head") if issubclass(made, MemoryHead) else made(name="head")
