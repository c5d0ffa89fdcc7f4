"""In-graph validation: what a request sends is checked, one claim after the other, before anything else runs.

A claim that fails ends the request with INVALID_ARGUMENT and one sentence. Nothing else would do: an empty support
set, for one, ends the whole server process in a convolution's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from fewshot.exported.card import AUTO_STEPS, Card

Claim = Callable[[], tf.Tensor]

PNG_HEAD = 24
"""Bytes of a PNG file up to the end of its columns and rows."""
MOST_DECODED = 64 << 20
"""Values of the pictures in one input's files; as float32 they are 256 MB, as much as a server takes of one request."""


class Checks:
    """Claims in order: each is looked at when those before it hold, and `after` waits for all of them."""

    def __init__(self) -> None:
        """Begin without a claim."""
        self._held: list[tf.Operation] = []

    def require(self, claim: Claim, sentence: str, *numbers: Claim) -> None:
        """Demand a claim.

        Args:
            claim: Makes the scalar boolean; its operations run when the claims before it hold.
            sentence: What is said where it fails, with {} for each number.
            numbers: Make what is shown in the sentence.
        """
        with tf.control_dependencies(self._held):
            said = tf.strings.format(sentence, tuple(number() for number in numbers))
            self._held = [tf.raw_ops.Assert(condition=claim(), data=[said])]

    def require_axes(self, tensor: tf.Tensor, axes: int, sentence: str) -> None:
        """Demand a number of axes.

        Args:
            tensor: Of unknown shape.
            axes: Wanted.
            sentence: What is said where it has others, with {} for how many.
        """
        self.require(lambda: tf.equal(tf.rank(tensor), axes), sentence, lambda: tf.rank(tensor))

    def after(self, tensor: tf.Tensor) -> tf.Tensor:
        """Return a tensor that is there when every claim so far holds."""
        with tf.control_dependencies(self._held):
            return tf.identity(tensor)

    def settled(self, tensor: tf.Tensor, shape: Sequence[int | None]) -> tf.Tensor:
        """Return a checked tensor, the shape that the claims made sure of known to what follows and not to them."""
        return tf.ensure_shape(unknown_shape(self.after(tensor)), shape)


def unknown_shape(tensor: tf.Tensor) -> tf.Tensor:
    """Hide what is known of a tensor's shape.

    Servers do not hold requests to the signature's shapes, but TensorFlow believes them, and believes what later
    operations would need: it would answer a question for the rank with what the signature says, or a convolution
    takes, instead of the request's own. Nothing is known of what an Optional holds, and nothing is copied.
    """
    held = tf.raw_ops.OptionalFromValue(components=[tensor])
    (hidden,) = tf.raw_ops.OptionalGetValue(optional=held, output_types=[tensor.dtype], output_shapes=[None])
    return hidden


class RequestChecks(Checks):
    """The claims about what a request sends, in terms of the model's card.

    Each method demands what must hold of an input, whose shape nobody knows yet, and returns it as it was sent.
    """

    def __init__(self, card: Card) -> None:
        """Begin without a claim."""
        super().__init__()
        self.card = card

    def images(self, name: str, images: tf.Tensor, most: int) -> tf.Tensor:
        """Return pictures `[n, H, W, bands]` float32 as sent, once they are what the card describes.

        Args:
            name: Of the input.
            images: As sent.
            most: The greatest n.
        """
        images, size, bands = unknown_shape(images), self.card.size, len(self.card.bands)
        shape = tf.shape(images)
        # First of all, since an empty list in JSON has one axis.
        self.require(lambda: tf.size(images) > 0, f"{name} holds no picture; expected at least 1.")
        self.require_axes(images, 4, f"{name} is pictures [n, rows, columns, bands]; received {{}} axes, expected 4.")
        self._count(name, lambda: shape[0], most)
        self.require(
            lambda: tf.equal(shape[3], bands),
            f"{name} has {{}} bands; the model reads {bands} ({', '.join(self.card.band_names)}).",
            lambda: shape[3],
        )
        self._size(name, shape)
        self.require(
            lambda: tf.reduce_all(tf.math.is_finite(self.after(images))),
            f"{name} holds values that are infinite or not a number; fill or leave out such pixels.",
        )
        known = [None, None, None, bands] if size.free else [None, size.rows, size.columns, bands]
        return self.settled(images, known)

    def labels(self, labels: tf.Tensor, support_x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return labels `[n]` or `[n, H, W]` int32, and the number of classes, once they fit the checked pictures."""
        labels, card = unknown_shape(labels), self.card
        pixels = card.output == "pixel"
        shape = tf.shape(support_x)[:3] if pixels else tf.shape(support_x)[:1]
        words = "one label a pixel, [n, rows, columns]" if pixels else "one label a picture, [n]"
        self.require_axes(labels, 3 if pixels else 1, f"support_y is {words}; received {{}} axes.")
        self.require(
            lambda: tf.reduce_all(tf.equal(tf.shape(self.after(labels)), shape)),
            "support_y is of shape {}, support_x asks for {}; they must agree.",
            lambda: tf.shape(labels),
            lambda: shape,
        )
        flat = tf.reshape(self.after(labels), [-1])
        most = card.limits.classes if card.outputs is None else card.outputs
        self.require(
            lambda: tf.reduce_all((flat >= -1) & (flat < most)),
            f"support_y holds labels from {{}} to {{}}; the model takes classes 0 to {most - 1}, and -1 for ignored.",
            lambda: tf.reduce_min(flat),
            lambda: tf.reduce_max(flat),
        )
        self.require(
            lambda: tf.reduce_any(flat >= 0),
            "support_y marks every label as ignored (-1); at least two classes are needed.",
        )
        flat = self.after(flat)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, most)  # ignored labels are left out
        shown = tf.reduce_sum(tf.cast(counts > 0, tf.int32))
        self.require(lambda: shown >= 2, "support_y shows one class alone; at least two are needed.")
        classes = tf.reduce_max(flat) + 1 if card.outputs is None else tf.constant(card.outputs)
        known = [None, *support_x.shape[1:3]] if pixels else [None]
        return self.settled(labels, known), classes

    def weight(self, weight: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return weights `[n]` (or `[n, 1, 1]` for pixel labels) once they fit the checked labels."""
        weight = unknown_shape(weight)
        self.require_axes(weight, 1, "support_weight is one number a picture, [n]; received {} axes.")
        self.require(
            lambda: tf.equal(tf.shape(self.after(weight))[0], tf.shape(labels)[0]),
            "support_weight has {} numbers and support_x {} pictures; they must agree.",
            lambda: tf.size(weight),
            lambda: tf.shape(labels)[0],
        )
        self.require(
            lambda: tf.reduce_all(tf.math.is_finite(weight) & (weight >= 0)),
            "support_weight holds values that are negative, infinite or not a number.",
        )
        each = tf.reshape(self.after(weight), [-1, *[1] * (labels.shape.rank - 1)])  # beside [n] or [n, H, W]
        self.require(
            lambda: tf.reduce_any((each > 0) & (labels >= 0)),
            "support_weight is 0 for every labelled picture; at least one must count.",
        )
        return self.settled(each, [None, *[1] * (labels.shape.rank - 1)])

    def steps(self, steps: tf.Tensor) -> tf.Tensor:
        """Return the number of steps, once it is one within the card's limit, or -1."""
        steps, most = unknown_shape(steps), self.card.limits.steps
        self.require_axes(steps, 0, "steps is one whole number; received {} axes.")
        self.require(
            lambda: (self.after(steps) >= AUTO_STEPS) & (steps <= most),
            f"steps is {{}}; the model takes 0 to {most}, or {AUTO_STEPS} to let the support decide.",
            lambda: steps,
        )
        return self.settled(steps, [])

    def adapted(self, adapted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return an adapted vector and its number of classes, once it can be one of this model's."""
        adapted, card = unknown_shape(adapted), self.card
        layout = card.adapted
        self.require_axes(adapted, 1, "adapted is the flat vector that adapt returned; received {} axes.")
        per_class = tf.size(self.after(adapted)) - layout.fixed
        classes = per_class // layout.per_class
        fewest, most = (2, card.limits.classes) if card.outputs is None else (card.outputs, card.outputs)
        number = str(most) if fewest == most else f"{fewest} to {most}"
        self.require(
            lambda: tf.equal(per_class % layout.per_class, 0) & (classes >= fewest) & (classes <= most),
            f"adapted has {{}} numbers; a vector of this model has {layout.fixed} and {layout.per_class} for each of "
            f"its {number} classes.",
            lambda: tf.size(adapted),
        )
        self.require(
            lambda: tf.equal(self.after(adapted)[0], tf.constant(layout.fingerprint, tf.float32)),
            "adapted was made by another model or another version of it; adapt again with this one.",
        )
        self.require(
            lambda: tf.reduce_all(tf.math.is_finite(self.after(adapted))),
            "adapted holds values that are infinite or not a number; adapt again.",
        )
        return self.settled(adapted, [None]), self.after(classes)

    def decoded(self, name: str, encoded: tf.Tensor, most: int) -> tf.Tensor:
        """Decode PNG or JPEG bytes `[n]` to pictures `[n, H, W, bands]` float32, 0-255; all must be of one size.

        Args:
            name: Of the input.
            encoded: As sent.
            most: The greatest n.
        """
        encoded, bands = unknown_shape(encoded), len(self.card.bands)
        self.require_axes(encoded, 1, f"{name} is one file a picture, [n]; received {{}} axes.")
        self.require(lambda: tf.size(self.after(encoded)) > 0, f"{name} holds no picture; expected at least 1.")
        self._count(name, lambda: tf.size(encoded), most)
        files = self.settled(encoded, [None])
        sizes = self._sizes(name, files)
        shape = tf.stack([tf.size(files), sizes[0, 0], sizes[0, 1], bands])
        self._size(name, shape)
        self.require(
            lambda: tf.reduce_prod(tf.cast(shape, tf.float64)) <= MOST_DECODED,
            f"{name} holds {{}} pictures of {{}}x{{}} pixels, more than {MOST_DECODED} values together; send fewer.",
            *(lambda axis=axis: shape[axis] for axis in range(3)),
        )

        def decode(file: tf.Tensor) -> tf.Tensor:
            return tf.io.decode_image(file, channels=bands, expand_animations=False)

        pixels = tf.TensorSpec([None, None, bands], tf.uint8)
        return tf.cast(tf.map_fn(decode, self.settled(files, [None]), fn_output_signature=pixels), tf.float32)

    def _sizes(self, name: str, files: tf.Tensor) -> tf.Tensor:
        """Return rows and columns `[n, 2]` of files by their heads alone, once all are of one size.

        A file of some kilobytes can hold a picture of gigabytes.
        """
        heads = tf.cast(tf.io.decode_raw(files, tf.uint8, fixed_length=PNG_HEAD), tf.int32)
        png = tf.reduce_all(tf.equal(heads[:, :8], list(b"\x89PNG\r\n\x1a\n")), axis=1)
        jpeg = tf.reduce_all(tf.equal(heads[:, :3], list(b"\xff\xd8\xff")), axis=1)
        self.require(lambda: tf.reduce_all(png | jpeg), f"{name} holds a file that is neither PNG nor JPEG.")
        # Columns, then rows, four bytes each, the highest first and below 128.
        numbers = tf.reshape(heads[:, 16:], [-1, 2, 4]) * [2**24, 2**16, 2**8, 1]
        in_png = tf.reverse(tf.reduce_sum(numbers, axis=2), [1])

        def size(file: tf.Tensor, is_jpeg: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
            return tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(file)[:2], lambda: size)

        each = (self.settled(files, [None]), jpeg, in_png)
        sizes = tf.map_fn(lambda one: size(*one), each, fn_output_signature=tf.TensorSpec([2], tf.int32))
        self.require(
            lambda: tf.reduce_all(tf.equal(sizes, sizes[:1])),
            f"{name} holds pictures of {{}} and of {{}} rows and columns; they must be of one size.",
            lambda: sizes[0],
            lambda: sizes[tf.argmax(tf.reduce_any(tf.not_equal(sizes, sizes[:1]), axis=1))],
        )
        return sizes

    def _count(self, name: str, count: Claim, most: int) -> None:
        self.require(
            lambda: count() <= most,
            f"{name} holds {{}} pictures; the model takes at most {most} in one request.",
            count,
        )

    def _size(self, name: str, shape: tf.Tensor) -> None:
        """Demand rows and columns that the network reads, of pictures of this shape."""
        size = self.card.size
        if size.free:
            allowed = f"{size.smallest} to {size.largest} rows and columns"
            allowed += f", a multiple of {size.multiple_of}" if size.multiple_of > 1 else ""
        else:
            allowed = f"{size.rows}x{size.columns}"

        def fits() -> tf.Tensor:
            sides = shape[1:3]
            if not size.free:
                return tf.reduce_all(tf.equal(sides, [size.rows, size.columns]))
            inside = (sides >= size.smallest) & (sides <= size.largest)
            return tf.reduce_all(inside & tf.equal(sides % size.multiple_of, 0))

        sentence = f"{name} is pictures of {{}}x{{}} pixels; the model reads {allowed}."
        self.require(fits, sentence, lambda: shape[1], lambda: shape[2])
