"""A scene as a model reads it: the bands of its card, as they are sent to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fewshot.errors import RasterError, RecipeError
from fewshot.exported.card import Card
from fewshot.geo.bands import REFLECTANCE, Band
from fewshot.geo.composite import describe_pictures, open_dates
from fewshot.geo.pictures import open_pictures
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.scene import Scene, Stored
from fewshot.mapping.reading import AS_IT_SAYS, Reading

_FEWEST = 2
"""Bands that a model whose bands may be missing is shown at least, of scenes that have so many."""


def open_scene(sources: Sequence[str | Path], card: Card, reading: Reading = AS_IT_SAYS) -> Scene:
    """Find a model's bands in a scene.

    Args:
        sources: Files, as neighbours or with a band each; products, STAC items, and dates before their names.
        card: Of the model.
        reading: What the user says of the scene.

    Returns:
        The scene, whose values are the numbers that the model is sent.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, they do not fit together, or bands are missing; or if its numbers would be
            taken for brightness from 0 to 255 and are not.
        RecipeError: if the sensor is not known, or the model does not take numbers in any unit.
    """
    if reading.scale == "auto" and not card.unit_free:
        units = ", ".join(sorted({band.unit for band in card.bands if band.unit})) or "numbers in its own unit"
        raise RecipeError(
            f"--scale auto: {card.title!r} reads {units}, not any unit. Say what one number of the scene is worth, "
            "such as --scale 1e-4 for reflectance x 10,000, or 1/4095 = 2.44e-4 for 12 bits."
        )
    wanted = [Band(band.name, band.wavelength, nodata=band.nodata, width=band.width) for band in card.bands]
    scene = open_dates(
        open_pictures(sources, reading.pictures),
        reading.pictures.composite,
        wanted,
        chosen=reading.bands,
        sensor=reading.sensor,
        missing="allow" if card.missing_bands else "refuse",
        by="wavelength" if card.missing_bands else "name",
    )
    if card.missing_bands:
        _require_enough(scene)
    if card.unit_free:
        as_stored = [
            replace(band, scale=reading.factor or 1.0, offset=reading.offset or 0.0, unit="") for band in wanted
        ]
        return scene.reading(as_stored, gaps="mean")
    if card.value_type == "uint8" and reading.factor is None:
        _require_brightness(scene)
    stored = Stored(
        tuple(band.scale for band in card.bands),
        tuple(band.offset for band in card.bands),
        whole=card.value_type == "uint8",
    )
    return scene.reading(_scaled(card, scene.info, reading), stored=stored)


def describe_scene(sources: Sequence[str | Path], reading: Reading) -> RasterInfo:
    """Return what a scene says of itself, with all its bands.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, or they do not fit together.
    """
    return describe_pictures(open_pictures(sources, reading.pictures), reading.pictures.composite)


def _scaled(card: Card, info: RasterInfo, reading: Reading) -> list[Band]:
    """Return a model's bands, their scale as the user says, else as the file's product has it, else the card."""
    bands = []
    for own in card.bands:
        # "simulated reflectance" and the like are 0-1 too.
        unit = REFLECTANCE if REFLECTANCE in own.unit else own.unit
        scale, offset = own.scale, own.offset
        if reading.factor is not None:
            scale, offset = reading.factor, 0.0
        elif info.product is not None and unit == REFLECTANCE:
            scale, offset = info.product
        offset = offset if reading.offset is None else reading.offset
        bands.append(Band(own.name, own.wavelength, scale, offset, unit, own.nodata, own.width))
    return bands


def _require_enough(scene: Scene) -> None:
    """Refuse a scene of which a model would see next to nothing."""
    if len(scene.match.found) < min(_FEWEST, scene.info.bands):
        raise RasterError(
            f"{scene.info.path} has {scene.info.bands} bands, of which the model knows "
            f"{len(scene.match.found)}: {scene.match.say()}. Expected {_FEWEST} at least. Name the bands "
            "you have with --bands, in the file's order, or say what recorded them with --sensor."
        )


def _require_brightness(scene: Scene) -> None:
    """Refuse numbers that are no brightness from 0 to 255, and do not say what they are worth."""
    info = scene.info
    if info.dtype != "uint8" and not all(info.states_scale(number) for number in scene.match.found):
        raise RasterError(
            f"{info.path} has {info.dtype} pixels without a scale; the model reads 8-bit pictures, 0-255. Say what one "
            "unit is worth where 1 is the brightest with --scale, such as --scale 1e-4 for reflectance x 10,000."
        )
