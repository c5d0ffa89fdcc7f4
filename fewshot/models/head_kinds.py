"""The heads by name."""

from __future__ import annotations

from fewshot.errors import RecipeError
from fewshot.models.heads import FixedHead, Head, PrototypeHead, SharedHead
from fewshot.models.reading import MatchingHead, PropagationHead, RelationHead, SiameseHead
from fewshot.models.solvers import LogisticHead, MachineHead, RidgeHead, SolvingHead

HEADS: dict[str, type[Head]] = {
    "fixed": FixedHead,
    "shared": SharedHead,
    "prototype": PrototypeHead,
    "ridge": RidgeHead,
    "logistic": LogisticHead,
    "svm": MachineHead,
    "matching": MatchingHead,
    "siamese": SiameseHead,
    "relation": RelationHead,
    "propagation": PropagationHead,
}


def make_head(
    kind: str, *, outputs: int | None = None, restrict: bool = False, strength: float = 0.0, scale: float = 1.0
) -> Head:
    """Make a head by name.

    Args:
        kind: One of `HEADS`.
        outputs: Global classes or regression targets, for a fixed head.
        restrict: For a fixed head: rule out classes that the support set does not show.
        strength: For a solving head: where its regularisation starts; 0 for a tenth of the number of features.
        scale: For a solving head: of its logits, where it starts.

    Raises:
        RecipeError: if the kind is unknown, or a fixed head lacks its number of outputs.
    """
    if kind not in HEADS:
        raise RecipeError(f"Unknown head {kind!r}; expected one of {', '.join(HEADS)}.")
    made = HEADS[kind]
    if made is FixedHead:
        if outputs is None:
            raise RecipeError("A fixed head needs the number of classes; the data or the recipe must give it.")
        return FixedHead(outputs, restrict=restrict, name="head")
    if issubclass(made, SolvingHead):
        return made(strength=strength, scale=scale, name="head")
    return made(name="head")
