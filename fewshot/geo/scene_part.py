"""A part of a scene as somebody looks at it: from a pixel on, and with fewer pixels than the scene has."""

from typing import Any

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
        whole = scene.reduced(step)
        super().__init__(whole.info, whole.match, whole.parts, stored=whole.stored, gaps=whole.gaps)
        self._scene, self._window, self._reduced, self.step = scene, window, whole, step
        self._first = window.row // step, window.column // step
        last = -(-(window.row + window.height) // step), -(-(window.column + window.width) // step)
        self.size = last[0] - self._first[0], last[1] - self._first[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the scene and the window."""
        return ScenePart, (self._scene, self._window, self.step)

    @property
    def covered(self) -> Window:
        """What of the scene the part shows: the window, to whole pixels of the part."""
        scaled = Window(*(length * self.step for length in (*self._first, *self.size)))
        return intersection(scaled, self._scene._whole) or scaled

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Read a window of the part."""
        row, column = self._first
        return self._reduced.read(window._replace(row=window.row + row, column=window.column + column))
