"""What is varied: settings of a recipe, each in a range or among a few values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fewshot.errors import RecipeError

Value = float | int | str

_RANGE = re.compile(r"(?P<low>[^,]+?)\.\.(?P<high>[^,]+?)(?P<log>:log)?")
_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Varied:
    """One setting that is varied. Proposals are places from 0 to 1, whatever the setting is.

    Attributes:
        key: `table.key` of the recipe.
        low: Least value of a range.
        high: Greatest value.
        whole: Values are whole numbers.
        log: Equal steps are equal ratios.
        choices: The values, where they are no range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    choices: tuple[str, ...] = ()

    def at(self, place: float) -> Value:
        """Return the value at a place from 0 to 1."""
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        # Each whole number has as wide a share of the places as any other.
        edge = 0.5 if self.whole else 0.0
        low, high = self.low - edge, self.high + edge
        if self.log:
            value = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        else:
            value = low + place * (high - low)
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return float(f"{value:.4g}")

    def stretch(self, value: float) -> float:
        """Return by how much a value rises with its place, in a range."""
        return value * math.log(self.high / self.low) if self.log else self.high - self.low

    def setting(self, value: Value) -> str:
        """Return `table.key=value`, as `--set` takes it."""
        return f"{self.key}={value}"


def read_varied(text: str) -> Varied:
    """Read `table.key=LOW..HIGH`, `table.key=LOW..HIGH:log` or `table.key=ONE,OTHER,...`.

    Raises:
        RecipeError: if it is none of them, or a range has no inside.
    """
    key, equals, values = text.partition("=")
    key, values = key.strip(), values.strip()
    if not equals or "." not in key or not values:
        raise _unreadable(text)
    if matched := _RANGE.fullmatch(values):
        return _read_range(text, key, matched)
    choices = tuple(part.strip() for part in values.split(","))
    if len(choices) < 2 or not all(choices):
        raise _unreadable(text)
    return Varied(key, choices=choices)


def _read_range(text: str, key: str, matched: re.Match[str]) -> Varied:
    ends = (matched["low"], matched["high"])
    try:
        low, high = map(float, ends)
    except ValueError:
        raise _unreadable(text) from None
    log = matched["log"] is not None
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise RecipeError(f"--vary {text}: a range rises from a number to a greater one; received {low} to {high}.")
    if log and low <= 0:
        raise RecipeError(f"--vary {text}: a range by ratios (:log) begins above 0; received {low}.")
    return Varied(key, low, high, whole=all(map(_NUMBER.fullmatch, ends)), log=log)


def _unreadable(text: str) -> RecipeError:
    return RecipeError(
        f"--vary expects table.key=LOW..HIGH, table.key=LOW..HIGH:log or table.key=ONE,OTHER, such as "
        f"learner.rate=1e-3..1:log; received {text!r}."
    )


def require_distinct(varied: Sequence[Varied]) -> None:
    """Refuse a search of nothing, or of one setting twice.

    Raises:
        RecipeError: if it is one.
    """
    if not varied:
        raise RecipeError("Nothing is varied. Name a setting with --vary, such as --vary learner.rate=1e-3..1:log.")
    keys = [one.key for one in varied]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise RecipeError(f"--vary names {', '.join(twice)} more than once; give each setting one range.")
