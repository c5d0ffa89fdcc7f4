"""A scene that is read again and again in the same places."""

from functools import lru_cache
from typing import Any

from fewshot.geo.dated import DatedPlaces
from fewshot.geo.scene import BoolArray, FloatArray, Scene, Stored
from fewshot.geo.windows import Window

_PICTURES = 512  # windows whose values are kept, of so many pixels at most
_SMALL = 64 * 64
_MASKS = 1024  # windows of which is kept where they have data
_VIEWS = 2  # larger windows that are kept, of so many numbers at most: what somebody looks at
_LARGE = 10 << 20


class RememberingScene(Scene):
    """A scene that keeps the windows that were read last, as the pictures around labels to which one is added."""

    def __init__(self, scene: Scene) -> None:
        """Read a scene so."""
        super().__init__(
            scene.info, scene.match, scene.parts, stored=scene.stored, gaps=scene.gaps, reader=scene.reader
        )
        self._scene = scene
        self._pictures = lru_cache(_PICTURES)(super().read)
        self._views = lru_cache(_VIEWS)(super().read)
        self._masks = lru_cache(_MASKS)(super().valid)
        self._reductions = lru_cache(_VIEWS)(self._reduced)
        self._units_fit = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without what is kept."""
        return RememberingScene, (self._scene,)

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Read a window, or return what was read of it before; nobody may change that."""
        pixels = window.height * window.width
        if pixels * len(self.match.bands) > _LARGE:
            return super().read(window)
        values, valid = self._pictures(window) if pixels <= _SMALL else self._views(window)
        values.flags.writeable = valid.flags.writeable = False
        return values, valid

    def valid(self, window: Window) -> BoolArray:
        """Say where a window inside the scene has data, or return what was said before."""
        valid = self._masks(window)
        valid.flags.writeable = False
        return valid

    def check_window(self, window: Window) -> bool:
        """Refuse values that cannot be in the unit that is wanted, as `Scene` does, until some could."""
        self._units_fit = self._units_fit or super().check_window(window)
        return self._units_fit

    def of_dates(self, places: DatedPlaces | None) -> Scene:
        """Return the scene as it was around places at their dates, of which nothing is kept where it differs."""
        dated = self._scene.of_dates(places)
        return self if dated is self._scene else dated

    def reduced(self, step: int, first: tuple[int, int] = (0, 0)) -> Scene:
        """Return the scene with fewer pixels; see `Scene.reduced`.

        Args:
            step: Of its pixels in one.
            first: Where the first one begins.
        """
        return self._reductions(step, first) if step > 1 else self

    def _reduced(self, step: int, first: tuple[int, int]) -> Scene:
        return RememberingScene(self._scene.reduced(step, first))

    def _read(self, window: Window, stored: Stored | None) -> tuple[FloatArray, BoolArray]:
        return self._scene._read(window, stored)
