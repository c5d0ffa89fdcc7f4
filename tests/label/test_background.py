"""Tiles of the world lie where the scene's projection says."""

from __future__ import annotations

import numpy as np
import pytest

from fewshot.errors import RecipeError
from fewshot.geo.grid import web_mercator
from fewshot.label.background import place_background
from tests.mapping import fakes

URL = "https://tiles.invalid/{z}/{x}/{y}.png"


def test_the_world_begins_at_the_antimeridian_and_ends_at_85_degrees() -> None:
    world = web_mercator()
    degrees = fakes.grid_of(180, 360, crs="EPSG:4326", corner=(-180.0, 90.0), pixel=(1.0, 1.0))
    rows, columns = degrees.to_grid(world, np.array([90.0, 90 - 85.0511287798]), np.array([180.0, 0.0]))
    np.testing.assert_allclose([columns, rows], [[0.5, 0.0], [0.5, 0.0]], atol=1e-9)


@pytest.mark.parametrize("pixel", [10.0, 1000.0])
def test_both_ways_are_exact_to_a_pixel_of_a_large_scene(pixel: float) -> None:
    grid = fakes.grid_of(500, 400, pixel=(pixel, pixel), degrees=20.0)
    background = place_background(URL, grid)
    rows, columns = (own.ravel() for own in np.meshgrid(np.linspace(0, 500, 7), np.linspace(0, 400, 5)))
    south, east = grid.to_grid(web_mercator(), rows, columns)
    places, world = np.stack([columns, rows], axis=1), np.stack([east, south], axis=1)
    assert np.abs(background.to_scene.at(world) - places).max() < 0.5
    assert np.abs(background.to_scene.at(background.to_world.at(places)) - places).max() < 0.5


def test_only_tiles_of_one_host_and_scenes_with_a_place_are_taken() -> None:
    grid = fakes.grid_of(50, 40)
    assert place_background(URL, grid).origin == "https://tiles.invalid"
    for wrong in (
        "tiles.invalid/{z}/{x}/{y}",
        "https://tiles.invalid/{z}/{x}",
        "file:///{z}/{x}/{y}",
        "https://a; b/{z}/{x}/{y}",
    ):
        with pytest.raises(RecipeError, match="expected"):
            place_background(wrong, grid)
    with pytest.raises(RecipeError, match="CRS"):
        place_background(URL, fakes.grid_of(50, 40, crs=""))
