"""A part of a scene as somebody looks at it: from a pixel on, and with fewer pixels than the scene has."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import read_reduced
from fewshot.geo.scene import BoolArray, FloatArray, Scene
from fewshot.geo.windows import Window, intersection


class ScenePart(Scene):
    """A window of a scene, each of its pixels the mean of `step` x `step` of the scene's.

    A window that reaches outside of the part, as the margin of a network's picture does, is read from the scene.
    """

    def __init__(self, scene: Scene, window: Window, step: int = 1) -> None:
        """Look at a part of a scene.

        Args:
            scene: The whole.
            window: Of the scene.
            step: Pixels of the scene in one of the part, along each side.
        """
        info = replace(scene.info, grid=_reduced(scene.grid, step))
        super().__init__(info, scene.match, scene.parts, stored=scene.stored, gaps=scene.gaps, reader=scene.reader)
        self._whole_scene, self._window = scene, window
        self.step, self._full = step, Window(0, 0, scene.grid.height, scene.grid.width)
        self._first = window.row // step, window.column // step
        last = -(-(window.row + window.height) // step), -(-(window.column + window.width) // step)
        self.size = last[0] - self._first[0], last[1] - self._first[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the scene and the window."""
        return ScenePart, (self._whole_scene, self._window, self.step)

    @property
    def covered(self) -> Window:
        """What of the scene the part shows: the window, to whole pixels of the part."""
        (row, column), (height, width) = self._first, self.size
        return self._of_scene(Window(row, column, height, width))

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Read a window of the part."""
        row, column = self._first
        return super().read(window._replace(row=window.row + row, column=window.column + column))

    def _of_scene(self, window: Window) -> Window:
        """Return which of the scene's pixels a window of the reduced scene shows."""
        scaled = Window(*(length * self.step for length in window))
        return intersection(scaled, self._full) or scaled

    def _numbers(self, window: Window, bands: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        shape = (window.height, window.width)
        return read_reduced(self.reader, self.parts, self._of_scene(window), bands, shape)


def _reduced(grid: Grid, step: int) -> Grid:
    """Return a grid of larger pixels over the same ground, or a little more."""
    t = grid.transform
    transform = type(t)(t.a * step, t.b * step, t.c, t.d * step, t.e * step, t.f)
    return Grid(-(-grid.height // step), -(-grid.width // step), transform, grid.crs)
