"""Where tiles of the world lie on a scene, so that the page can lay them under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from fewshot.errors import RecipeError
from fewshot.geo.grid import Grid, web_mercator

Places = npt.NDArray[np.float64]

_POWERS = tuple((i, j) for i in range(4) for j in range(4 - i))
_SIDE = 13  # places each way that a surface is fitted to
_AROUND = 0.5  # of the scene's sides, beyond its edges
_PARTS = ("{z}", "{x}", "{y}")


@dataclass(frozen=True)
class Surface:
    """A polynomial of two coordinates that gives two others.

    Attributes:
        centre: Taken from both coordinates.
        spread: By which they are divided then.
        factors: [2][terms] of both results, in the order of `powers`.
    """

    centre: tuple[float, float]
    spread: tuple[float, float]
    factors: tuple[tuple[float, ...], tuple[float, ...]]

    @classmethod
    def through(cls, given: Places, wanted: Places) -> Surface:
        """Fit one by least squares.

        Args:
            given: [n, 2] coordinates.
            wanted: [n, 2] what they become.
        """
        centre, spread = given.mean(axis=0), np.ptp(given, axis=0) / 2
        factors = np.linalg.lstsq(_terms((given - centre) / spread), wanted, rcond=None)[0]
        x, y = factors.T.tolist()
        return cls(tuple(centre.tolist()), tuple(spread.tolist()), (tuple(x), tuple(y)))

    def at(self, places: Places) -> Places:
        """Return what places [n, 2] become."""
        return _terms((places - self.centre) / np.array(self.spread)) @ np.array(self.factors).T

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"centre": self.centre, "spread": self.spread, "powers": _POWERS, "factors": self.factors}


@dataclass(frozen=True)
class Background:
    """Tiles of the world, and how they lie on a scene.

    Attributes:
        url: Of a tile, with {z}, {x} and {y}.
        to_world: From column and row to the world as a square of side 1, from its north-west corner.
        to_scene: Back.
    """

    url: str
    to_world: Surface
    to_scene: Surface

    @property
    def origin(self) -> str:
        """Scheme and host that the tiles come from."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def document(self) -> dict[str, Any]:
        """Return what the page needs to draw it."""
        return {"url": self.url, "to_world": self.to_world.document(), "to_scene": self.to_scene.document()}


def place_background(url: str, grid: Grid) -> Background:
    """Return how tiles of the world lie on a scene.

    Args:
        url: Of a tile, with {z}, {x} and {y}.
        grid: Of the scene.

    Raises:
        RecipeError: if the address is none of tiles, or the scene does not say where it lies.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or any(own not in url for own in _PARTS):
        raise RecipeError(f"expected an address of tiles with {{z}}, {{x}} and {{y}} after https://; received {url!r}")
    if set(parts.netloc) & set(" ;,'\"{}*@"):
        raise RecipeError(f"expected the name of one host in {url!r}")
    if grid.crs is None:
        raise RecipeError("a background needs a scene with a CRS, and this one has none: leave out --background")
    share = np.linspace(-_AROUND, 1 + _AROUND, _SIDE)
    columns, rows = (own.ravel() for own in np.meshgrid(share * grid.width, share * grid.height))
    south, east = grid.to_grid(web_mercator(), rows, columns)
    here, world = np.stack([columns, rows], axis=1), np.stack([east, south], axis=1)
    known = np.isfinite(world).all(axis=1)
    if known.sum() < len(_POWERS):
        raise RecipeError("a background needs a scene that Web Mercator shows, and this one is too near to a pole")
    return Background(url, Surface.through(here[known], world[known]), Surface.through(world[known], here[known]))


def _terms(places: Places) -> Places:
    """Return the powers [n, terms] of places [n, 2]."""
    return np.stack([places[:, 0] ** i * places[:, 1] ** j for i, j in _POWERS], axis=1)
