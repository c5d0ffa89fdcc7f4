"""Pictures of a predicted part: classes in their colours, how sure the model is, and where it is applicable."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot.mapping import PreviewPart

OUTSIDE = (213, 94, 0)
"""Vermilion of Okabe and Ito, which differs from any grey whatever one's colour vision."""
_GREYEST = 0.4  # lightness of what is as unlike the labels as the model is applicable


def paint(part: PreviewPart, colours: Sequence[str]) -> Mapping[str, bytes]:
    """Return the layers of a part as PNG, transparent where there is no data.

    They are "map", "confidence" in grey and, where it is known, "applicable": white is like the labels, grey as unlike
    as the model is applicable, and `OUTSIDE` beyond.

    Args:
        part: Predicted.
        colours: "#rrggbb" of each class.
    """
    shown = part.classes >= 0
    # The last one is of index -1.
    table = np.array([[*bytes.fromhex(colour[1:]), 255] for colour in colours] + [[0, 0, 0, 0]], np.uint8)
    layers = {"map": to_png(table[part.classes]), "confidence": to_png(_grey(part.confidence, shown))}
    if part.reach is not None:
        reach = _grey(1 - (1 - _GREYEST) * np.minimum(part.reach, 1), shown)
        reach[shown & (part.reach > 1), :3] = OUTSIDE
        layers["applicable"] = to_png(reach)
    return layers


def _grey(light: npt.NDArray[np.floating], shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return RGBA [H, W, 4] of lightness [H, W] from 0 to 1, transparent where nothing is shown."""
    grey = np.empty((*shown.shape, 4), np.uint8)
    grey[..., :3] = np.round(255 * light)[..., np.newaxis]
    grey[..., 3] = np.where(shown, 255, 0)
    return grey


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
