"""Pictures of a predicted part: classes in their colours, how sure the model is, and where it is applicable."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot.mapping import PreviewPart

OUTSIDE = (213, 94, 0)
"""Vermilion of Okabe and Ito, which differs from any grey whatever one's colour vision."""
_GREYEST = 0.4  # lightness of what is as unlike the labels as the model is applicable
_MOST = 255  # classes, and shades of grey, that a picture of one number a pixel has room for beside no data

Layer = Callable[[], bytes]
"""Draws a picture, as PNG."""


def layers_of(part: PreviewPart, colours: Sequence[str]) -> Mapping[str, Layer]:
    """Return the layers of a part, each drawn when it is asked for; transparent where there is no data.

    They are "map", "confidence" in grey and, where it is known, "applicable": white is like the labels, grey as unlike
    as the model is applicable, and `OUTSIDE` beyond.

    Args:
        part: Predicted.
        colours: "#rrggbb" of each class.
    """
    found = {
        "map": partial(_map, part, [tuple(bytes.fromhex(colour[1:])) for colour in colours]),
        "confidence": partial(_grey, part, part.confidence),
    }
    return found if part.reach is None else found | {"applicable": partial(_reach, part, part.reach)}


def _map(part: PreviewPart, colours: Sequence[tuple[int, ...]]) -> bytes:
    return _indexed(part, part.classes, colours)


def _grey(part: PreviewPart, light: npt.NDArray[np.floating]) -> bytes:
    return _indexed(part, np.round((_MOST - 1) * light), [(round(n * 255 / (_MOST - 1)),) * 3 for n in range(_MOST)])


def _reach(part: PreviewPart, reach: npt.NDArray[np.floating]) -> bytes:
    steps = _MOST - 2
    light = [round(255 * (1 - (1 - _GREYEST) * n / steps)) for n in range(steps + 1)]
    index = np.where(reach <= 1, np.round(steps * np.minimum(reach, 1)), steps + 1)
    return _indexed(part, index, [*((own,) * 3 for own in light), OUTSIDE])


def _indexed(part: PreviewPart, index: npt.NDArray[np.generic], colours: Sequence[tuple[int, ...]]) -> bytes:
    """Return a picture of few colours as PNG, one byte a pixel: a quarter of the time that four take."""
    picture = Image.fromarray(np.where(part.classes >= 0, index, len(colours)).astype(np.uint8))
    picture.putpalette([number for colour in colours for number in colour] + [0, 0, 0])
    return _encoded(picture, "PNG", compress_level=1, transparency=len(colours))


def to_png(rgba: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture [H, W, 4] as PNG, packed lightly: it travels within this machine."""
    return _encoded(Image.fromarray(rgba), "PNG", compress_level=1)


def to_webp(rgba: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture [H, W, 4] as WebP without loss, which takes a third of the time of PNG where it is noisy."""
    return _encoded(Image.fromarray(rgba), "WEBP", lossless=True, quality=0, method=0)


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


ENCODINGS: Mapping[str, Callable[[npt.NDArray[np.uint8]], bytes]] = {"png": to_png, "webp": to_webp}
"""How pictures are sent, by the ending that is asked for."""
