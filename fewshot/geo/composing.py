"""How several dates become one scene, as `--composite` names it. Nothing is imported: help comes at once."""

from typing import Literal

Composing = Literal["", "median", "mean", "ndvi", "stack"]
"""What may be asked for; "" where nothing is."""

COMPOSITES: tuple[Composing, ...] = ("median", "mean", "ndvi", "stack")
"""Pixel by pixel the median, the mean or the date with the greatest NDVI; or dates as further bands."""
