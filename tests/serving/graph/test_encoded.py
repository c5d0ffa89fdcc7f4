"""Pictures as files: their heads are read first, and what is too large is never unpacked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fewshot.exported.predictor import LocalPredictor


def png(rows: int, columns: int, data: bytes = b"") -> bytes:
    """A file that claims a size, and holds little of it."""
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bitmap(rows: int, columns: int) -> bytes:
    """A BMP file, which TensorFlow would read too."""
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, columns, rows, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def ask(local_pictures: LocalPredictor, pictures: Any) -> Any:
    """Asks with these files as support, or as queries."""
    support_x, labels, query_x = pictures.task((2, 2))
    signature = local_pictures._model.signatures["adapt_and_predict_encoded"]
    good = [tf.io.encode_png(picture.astype(np.uint8)).numpy() for picture in support_x]

    def run(*, support: Sequence[bytes] = good, query: Sequence[bytes] = good) -> np.ndarray:
        inputs = {"support_bytes": list(support), "query_bytes": list(query), "support_y": labels, "steps": np.int32(1)}
        return signature(**{key: tf.constant(value) for key, value in inputs.items()})["probabilities"].numpy()

    run.good = good  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("side", ["support", "query"])
def test_a_picture_that_is_too_large_is_refused_by_its_head(ask: Any, side: str) -> None:
    """It was unpacked, then all were made numbers of four bytes, and then their size was looked at."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="of 16000x20000 pixels; the model reads 4 to 256"):
        ask(**{side: [png(16000, 20000)] * 4})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of \[16 16\] and of \[16000 20000\] rows and columns"):
        ask(**{side: [*ask.good[:3], png(16000, 20000)]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="pictures of 2147483647x1 pixels; the model reads"):
        ask(**{side: [png(2**31 - 1, 1)] * 4})


def test_pictures_that_are_too_large_together_are_refused(ask: Any) -> None:
    """Each is within the card's limits, and so are as many of them."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="4096 pictures of 256x256 pixels, more than 67108864"):
        ask(query=[png(256, 256)] * 4096)


@pytest.mark.parametrize("file", [b"", b"\x89PNG", b"GIF89a" + b"\xff" * 30, bitmap(20000, 20000)])
def test_files_of_other_kinds_are_refused(ask: Any, file: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="support_bytes holds a file that is neither PNG nor JPEG"):
        ask(support=[*ask.good[:3], file])


def test_a_picture_that_is_not_there_is_refused(ask: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="PNG"):
        ask(support=[*ask.good[:3], png(16, 16)])


def test_jpeg_files_are_read_beside_png_files(ask: Any, pictures: Any) -> None:
    flat = np.full((16, 16, 3), 128, np.uint8)
    jpeg, plain = tf.io.encode_jpeg(flat, quality=100).numpy(), tf.io.encode_png(flat).numpy()
    np.testing.assert_array_equal(ask(query=[jpeg, plain]), ask(query=[plain, jpeg]))
    larger = tf.io.encode_jpeg(np.zeros((300, 20, 3), np.uint8)).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError, match="query_bytes is pictures of 300x20 pixels"):
        ask(query=[larger])
