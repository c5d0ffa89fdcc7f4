"""What can be called: the inputs and outputs of every signature, in words for the card and as specs for the graph."""

from __future__ import annotations

import tensorflow as tf

from fewshot.exported.card import AUTO_STEPS, CARD_NAME, Card, SignatureNote, TensorNote

ENCODED_BANDS = (1, 3)
"""Numbers of bands that PNG and JPEG pictures have."""

ANSWER = ("probabilities", "class_index")
ADAPTED = ("adapted", "classes", "support_loss", "steps")
FEATURES = ("features",)
WEIGHTED = "The same, each support picture counting by its weight."


def describe_signatures(card: Card, *, base: bool) -> dict[str, SignatureNote]:
    """Return every signature of a model.

    Args:
        card: Bands, size, output and limits.
        base: Whether the model can predict without adaptation.
    """
    tensors = _describe_tensors(card)

    def note(purpose: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> SignatureNote:
        return SignatureNote(purpose, {key: tensors[key] for key in inputs}, {key: tensors[key] for key in outputs})

    both = (*ANSWER, "support_loss", "steps")
    notes = {
        "adapt_and_predict": note(
            "Adapt to the support pictures, answer for the queries.",
            ("support_x", "support_y", "query_x", "steps"),
            both,
        ),
        "adapt_and_predict_weighted": note(
            WEIGHTED, ("support_x", "support_y", "support_weight", "query_x", "steps"), both
        ),
        "adapt": note("Adapt once, to predict many times.", ("support_x", "support_y", "steps"), ADAPTED),
        "adapt_weighted": note(WEIGHTED, ("support_x", "support_y", "support_weight", "steps"), ADAPTED),
        "predict": note("Answer for the queries with what adapt returned.", ("adapted", "query_x"), ANSWER),
        "features": note("The network's features of pictures, as it was adapted.", ("adapted", "query_x"), FEATURES),
        "features_start": note(
            "Its features before any adaptation; what it normalises with comes from the pictures of the request.",
            ("query_x",),
            FEATURES,
        ),
    }
    if card.value_type == "uint8" and len(card.bands) in ENCODED_BANDS:
        purpose = "As adapt_and_predict, pictures as PNG or JPEG files."
        files = ("support_bytes", "support_y", "query_bytes", "steps")
        notes["adapt_and_predict_encoded"] = note(purpose, files, both)
    if base:
        purpose = "Answer without adapting, as meta-training left the model."
        notes["predict_base"] = note(purpose, ("query_x",), ANSWER)
    notes["card"] = note("What the model says of itself.", ("document",), ("json",))
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


def _describe_tensors(card: Card) -> dict[str, TensorNote]:
    """Return whatever goes in or comes out of one of the signatures, by name."""
    size = "H, W" if card.size.free else f"{card.size.rows}, {card.size.columns}"
    each = f", {size}" if card.output == "pixel" else ""  # labels and answers are one a pixel, or one a picture
    label = "its place in the card's list" if card.label_space == "global" else "0 up to the number of classes"
    steps = (
        f"Inner steps, 0 to {card.limits.steps}, {card.steps} is what the model was validated with; or {AUTO_STEPS}, "
        "the support decides by cross-validation over its pictures. In answers: the number taken."
    )
    length = f"[{card.adapted.fixed} + {card.adapted.per_class} * classes]"
    return {
        "support_x": TensorNote(
            "float32",
            f"[n, {size}, {len(card.bands)}]",
            f"Labelled pictures, values as the card says; n at most {card.limits.examples}.",
        ),
        "support_y": TensorNote("int32", f"[n{each}]", f"Class of each label, {label}; -1 is ignored."),
        "support_weight": TensorNote("float32", "[n]", "How much each support picture counts, 0 or more."),
        "support_bytes": TensorNote("string", "[n]", "The support pictures as files, all of one size."),
        "query_x": TensorNote(
            "float32", f"[m, {size}, {len(card.bands)}]", "Pictures to answer for, values as the card says."
        ),
        "query_bytes": TensorNote("string", "[m]", "The query pictures as files, all of one size."),
        "steps": TensorNote("int32", "[]", steps),
        "document": TensorNote("string", "[]", f"{CARD_NAME}, the one document there is."),
        "probabilities": TensorNote("float32", f"[m{each}, classes]", "Of each class; they sum to 1."),
        "class_index": TensorNote("int32", f"[m{each}]", "The class of greatest probability."),
        "support_loss": TensorNote("float32", "[2]", "Mean loss of the support labels, before and after."),
        "adapted": TensorNote("float32", length, "Everything predict needs; good for this version of the model alone."),
        "classes": TensorNote("int32", "[]", "How many classes the adapted model tells apart."),
        "features": TensorNote("float32", f"[m{each}, {card.adapted.width}]", "What the last layer is applied to."),
        "json": TensorNote("string", "[]", "The card."),
    }
