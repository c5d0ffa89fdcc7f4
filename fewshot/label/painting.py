"""Pictures of a predicted part: classes in their colours, and how sure the model is, in grey."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot.mapping import PreviewPart


def paint(part: PreviewPart, colours: Sequence[str]) -> Mapping[str, bytes]:
    """Return the layers of a part as PNG: "map" and "confidence", transparent where there is no data.

    Args:
        part: Predicted.
        colours: "#rrggbb" of each class.
    """
    shown = part.classes >= 0
    # The last one is of index -1.
    table = np.array([[*bytes.fromhex(colour[1:]), 255] for colour in colours] + [[0, 0, 0, 0]], np.uint8)
    grey = np.zeros((*shown.shape, 4), np.uint8)
    grey[..., :3] = np.round(255 * part.confidence)[..., np.newaxis]
    grey[..., 3] = np.where(shown, 255, 0)
    return {"map": to_png(table[part.classes]), "confidence": to_png(grey)}


def to_png(rgba: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture [H, W, 4] as PNG, packed lightly: it travels within this machine."""
    return _encoded(rgba, "PNG", compress_level=1)


def to_webp(rgba: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture [H, W, 4] as WebP without loss, which takes a third of the time of PNG where it is noisy."""
    return _encoded(rgba, "WEBP", lossless=True, quality=0, method=0)


def _encoded(rgba: npt.NDArray[np.uint8], kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgba).save(file, kind, **options)
    return file.getvalue()


ENCODINGS: Mapping[str, Callable[[npt.NDArray[np.uint8]], bytes]] = {"png": to_png, "webp": to_webp}
"""How pictures are sent, by the ending that is asked for."""
