"""A scene as a model reads it: the bands of its card, as they are sent to it."""

from collections.abc import Sequence
from pathlib import Path

from fewshot.errors import RasterError
from fewshot.exported.card import Card
from fewshot.geo.bands import REFLECTANCE, Band
from fewshot.geo.scene import Scene, Stored


def open_scene(
    sources: Sequence[str | Path], card: Card, *, bands: Sequence[str | int] = (), scale: float | None = None
) -> Scene:
    """Find a model's bands in a scene.

    Args:
        sources: One file; or several, as neighbours or with a band each.
        card: Of the model.
        bands: Overrules the files' descriptions: the name of each of the scene's bands, or the number in the scene of
            each of the model's.
        scale: What one digital number is worth in the unit of the network, where the file does not say; what the
            card says if None.

    Returns:
        The scene, whose values are the numbers that the model is sent.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, they do not fit together, or bands are missing; or if its numbers would be
            taken for brightness from 0 to 255 and are not.
    """
    whole = card.value_type == "uint8"
    wanted = [
        Band(
            band.name,
            band.wavelength,
            band.scale if scale is None else scale,
            band.offset if scale is None else 0.0,
            # "simulated reflectance" and the like are 0-1 too.
            REFLECTANCE if REFLECTANCE in band.unit else band.unit,
            band.nodata,
        )
        for band in card.bands
    ]
    stored = Stored(tuple(band.scale for band in card.bands), tuple(band.offset for band in card.bands), whole)
    scene = Scene.open(sources, wanted, chosen=bands, stored=stored)
    info = scene.info
    stated = info.dtype == "uint8" or all(info.states_scale(number) for number in scene.match.found)
    if whole and scale is None and not stated:
        raise RasterError(
            f"{info.path} has {info.dtype} pixels without a scale; the model reads 8-bit pictures, 0-255. Say what one "
            "unit is worth where 1 is the brightest with --scale, such as --scale 1e-4 for reflectance x 10,000."
        )
    return scene
