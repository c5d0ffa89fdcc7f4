"""Codes: which numbers of a mask stand for pixels that are left out, such as those that clouds cover."""

import re
from dataclasses import dataclass

from fewshot.errors import RecipeError


@dataclass(frozen=True)
class Codes:
    """Numbers of a mask whose pixels are left out.

    Attributes:
        values: Left out where the mask has one of them, or
        bits: where one of these bits is set, counted from 0.
        words: What they mean.
    """

    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()
    words: str = ""

    def say(self) -> str:
        """Say what is left out."""
        values = f"values {', '.join(map(str, self.values))}" if self.values else ""
        bits = f"bits {', '.join(map(str, self.bits))}" if self.bits else ""
        return " and ".join(part for part in (values, bits) if part) + (f" ({self.words})" if self.words else "")


KNOWN = {
    "SCL": Codes((0, 1, 3, 8, 9, 10), words="no data, saturated, cloud shadow, clouds, cirrus; snow stays"),
    "QA_PIXEL": Codes(bits=(0, 1, 2, 3, 4), words="fill, dilated cloud, cirrus, cloud, cloud shadow; snow stays"),
    "Fmask": Codes((255,), (1, 2, 3), words="fill, cloud, beside cloud, cloud shadow; snow stays"),
}
"""Masks of Sentinel-2 (level 2A), Landsat (collection 2) and HLS by name, and what of them is left out."""


def read_codes(text: str) -> Codes:
    """Read which numbers are left out: "3,8-10" are values, "bits:0-4" are bits, and both may be given.

    Raises:
        RecipeError: if it says something else.
    """
    found: dict[str, list[int]] = {"values": [], "bits": []}
    kind = "values"
    for word in filter(None, re.split(r"[\s,;]+", text.strip())):
        if match := re.match(r"(values|bits):", word):
            kind, word = match[1], word[match.end() :]
        span = re.fullmatch(r"(-?\d{1,9})(?:-(\d{1,9}))?", word)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
        if not 0 <= last - first < 4096 or (kind == "bits" and not 0 <= first <= last < 32):
            raise RecipeError(
                f"--mask-out {text}: {word!r} is not understood; expected the values of the mask that are left out, "
                "such as 3,8-10, or its bits, such as bits:0-4"
            )
        found[kind] += range(first, last + 1)
    return Codes(tuple(found["values"]), tuple(found["bits"]))


def known_mask(name: str) -> str:
    """Return which of the masks in `KNOWN` a name has as a part, "" if none."""
    for known in KNOWN:
        if re.search(rf"(?:^|[_.\-]){known}(?:[_.\-]|$)", name, re.IGNORECASE):
            return known
    return ""


def codes_of(name: str, asked: Codes | None) -> Codes:
    """Return what of a mask is left out: what was asked for, else what is usual for one of its name.

    Raises:
        RecipeError: if neither says it.
    """
    if asked is not None:
        return asked
    if known := known_mask(name):
        return KNOWN[known]
    raise RecipeError(
        f"--mask {name}: which of its values stand for clouds and the like is not known; say them with --mask-out, "
        f"such as --mask-out 1 or 3,8-10. Known without are {', '.join(KNOWN)}."
    )
