"""What can be called: the inputs and outputs of every signature, in words for the card and as specs for the graph."""

from __future__ import annotations

import tensorflow as tf

from fewshot.exported.card import CARD_NAME, Card, SignatureNote, TensorNote

ENCODED_BANDS = (1, 3)
"""Numbers of bands that PNG and JPEG pictures have."""

Tensors = dict[str, TensorNote]


def describe_signatures(card: Card, *, base: bool) -> dict[str, SignatureNote]:
    """Return every signature of a model.

    Args:
        card: Bands, size, output and limits.
        base: Whether the model can predict without adaptation.
    """
    support, steps, weight = _support(card), _steps(card), _weight()
    query = {"query_x": TensorNote("float32", _pictures(card, "m"), "Pictures to answer for, values as the card says.")}
    answer, losses, adapted = _answer(card), _losses(), _adapted(card)
    notes = {
        "adapt_and_predict": SignatureNote(
            "Adapt to the support pictures, answer for the queries.",
            {**support, **query, **steps},
            {**answer, **losses},
        ),
        "adapt_and_predict_weighted": SignatureNote(
            "The same, each support picture counting by its weight.",
            {**support, **weight, **query, **steps},
            {**answer, **losses},
        ),
        "adapt": SignatureNote(
            "Adapt once, to predict many times.", {**support, **steps}, {**adapted, **_classes(), **losses}
        ),
        "adapt_weighted": SignatureNote(
            "The same, each support picture counting by its weight.",
            {**support, **weight, **steps},
            {**adapted, **_classes(), **losses},
        ),
        "predict": SignatureNote("Answer for the queries with what adapt returned.", {**adapted, **query}, answer),
    }
    if card.value_type == "uint8" and len(card.bands) in ENCODED_BANDS:
        files = {**_files("support", "n"), "support_y": support["support_y"], **_files("query", "m"), **steps}
        purpose = "As adapt_and_predict, pictures as PNG or JPEG files."
        notes["adapt_and_predict_encoded"] = SignatureNote(purpose, files, {**answer, **losses})
    if base:
        notes["predict_base"] = SignatureNote(
            "Answer without adapting, as meta-training left the model.", query, answer
        )
    notes["card"] = SignatureNote(
        "What the model says of itself.",
        {"document": TensorNote("string", "[]", f"{CARD_NAME}, the one document there is.")},
        {"json": TensorNote("string", "[]", "The card.")},
    )
    return notes


def input_specs(card: Card, name: str) -> list[tf.TensorSpec]:
    """Return the inputs of a signature as TensorFlow takes them, in the card's order and named."""
    height, width = (None, None) if card.size.free else (card.size.rows, card.size.columns)
    pictures = [None, height, width, len(card.bands)]
    shapes: dict[str, list[int | None]] = {
        "support_x": pictures,
        "query_x": pictures,
        "support_y": [None, height, width] if card.output == "pixel" else [None],
        "steps": [],
        "document": [],
    }
    inputs = card.signatures[name].inputs
    return [tf.TensorSpec(shapes.get(key, [None]), note.dtype, name=key) for key, note in inputs.items()]


def _pictures(card: Card, count: str) -> str:
    size = "H, W" if card.size.free else f"{card.size.rows}, {card.size.columns}"
    return f"[{count}, {size}, {len(card.bands)}]"


def _pixels(card: Card, count: str) -> str:
    return _pictures(card, count).rpartition(",")[0] + "]" if card.output == "pixel" else f"[{count}]"


def _support(card: Card) -> Tensors:
    meaning = "Class of each label, 0 up to the number of classes; -1 is ignored."
    if card.label_space == "global":
        meaning = "Class of each label, its place in the card's list; -1 is ignored."
    return {
        "support_x": TensorNote(
            "float32",
            _pictures(card, "n"),
            f"Labelled pictures, values as the card says; n at most {card.limits.examples}.",
        ),
        "support_y": TensorNote("int32", _pixels(card, "n"), meaning),
    }


def _files(side: str, count: str) -> Tensors:
    return {f"{side}_bytes": TensorNote("string", f"[{count}]", f"The {side} pictures as files, all of one size.")}


def _weight() -> Tensors:
    return {"support_weight": TensorNote("float32", "[n]", "How much each support picture counts, 0 or more.")}


def _steps(card: Card) -> Tensors:
    meaning = f"Inner steps, 0 to {card.limits.steps}; {card.steps} is what the model was validated with."
    return {"steps": TensorNote("int32", "[]", meaning)}


def _answer(card: Card) -> Tensors:
    shape = _pixels(card, "m")
    return {
        "probabilities": TensorNote("float32", f"{shape[:-1]}, classes]", "Of each class; they sum to 1."),
        "class_index": TensorNote("int32", shape, "The class of greatest probability."),
    }


def _losses() -> Tensors:
    return {"support_loss": TensorNote("float32", "[2]", "Mean loss of the support labels, before and after.")}


def _adapted(card: Card) -> Tensors:
    length = f"[{card.adapted.fixed} + {card.adapted.per_class} * classes]"
    return {
        "adapted": TensorNote("float32", length, "Everything predict needs; good for this version of the model alone.")
    }


def _classes() -> Tensors:
    return {"classes": TensorNote("int32", "[]", "How many classes the adapted model tells apart.")}
