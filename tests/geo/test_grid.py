"""Where pixels lie, and how large they are on the ground."""

from collections.abc import Callable

import numpy as np
import pytest

from fewshot.geo.grid import Grid

Make = Callable[..., Grid]


@pytest.mark.parametrize("degrees", [0, 30])
def test_places_on_the_map_and_in_the_grid_are_one_anothers(make_grid: Make, degrees: float) -> None:
    grid = make_grid(degrees=degrees, pixel=(10, 20))
    rows, columns = grid.to_pixels(*grid.to_map(np.array([0.0, 3.5, 20.0]), np.array([0.0, 29.0, 1.25])))
    np.testing.assert_allclose([rows, columns], [[0, 3.5, 20], [0, 29, 1.25]], atol=1e-6)


def test_grids_are_the_same_to_a_thousandth_of_a_pixel(make_grid: Make) -> None:
    grid = make_grid()
    assert grid.same_as(make_grid(corner=(500000.005, 5000000)))
    assert not grid.same_as(make_grid(corner=(500000.5, 5000000)))
    assert not grid.same_as(make_grid(20, 31))
    assert not grid.same_as(make_grid(crs="EPSG:32632"))
    assert not grid.same_as(make_grid(pixel=(10, 10.01)))


def test_grids_overlap_where_they_share_ground(make_grid: Make) -> None:
    grid = make_grid()
    assert grid.overlaps(make_grid(corner=(500290, 5000000)))
    assert not grid.overlaps(make_grid(corner=(500300, 5000000)))  # neighbours share a border only
    assert grid.overlaps(make_grid(10, 10, crs="EPSG:4326", corner=(14.999, 45.155), pixel=(0.001, 0.001)))
    assert not grid.overlaps(make_grid(10, 10, crs="EPSG:4326", corner=(15.5, 45.155), pixel=(0.001, 0.001)))


def test_grids_overlap_across_the_antimeridian(make_grid: Make) -> None:
    # In zone 60 N, around 180 degrees east.
    scene = make_grid(100, 100, crs="EPSG:32660", corner=(707000, 5000000), pixel=(1000, 1000))
    assert scene.overlaps(make_grid(5, 5, crs="EPSG:4326", corner=(-179.9, 45), pixel=(0.01, 0.01)))
    assert scene.overlaps(make_grid(5, 5, crs="EPSG:4326", corner=(179.9, 45), pixel=(0.01, 0.01)))
    assert not scene.overlaps(make_grid(5, 5, crs="EPSG:4326", corner=(0, 45), pixel=(0.01, 0.01)))


def test_pixels_are_as_large_as_their_crs_says(make_grid: Make) -> None:
    metres = make_grid(degrees=30, pixel=(10, 20))
    np.testing.assert_allclose(metres.pixel_areas(3, 2), [200, 200])
    assert metres.pixel_sides() == pytest.approx((20, 10))
    feet = make_grid(crs="EPSG:2263", pixel=(100, 200))  # New York, in US survey feet
    assert feet.pixel_sides() == pytest.approx((200 * 0.3048006, 100 * 0.3048006))
    assert feet.pixel_areas(0, 1) == pytest.approx(20000 * 0.3048006**2)
    unknown = make_grid(crs=None, pixel=(10, 20))
    assert unknown.pixel_areas(0, 3).tolist() == [1, 1, 1] and unknown.pixel_sides() == (20, 10)


def test_pixels_in_degrees_narrow_towards_the_poles(make_grid: Make) -> None:
    grid = make_grid(61, 10, crs="EPSG:4326", corner=(10, 60.5), pixel=(1, 1))
    degree = 111_195.08
    areas = grid.pixel_areas(0, 61)
    assert areas[0] == pytest.approx(degree**2 / 2, rel=1e-6)  # at 60 degrees north
    assert areas[60] == pytest.approx(degree**2, rel=1e-6)
    np.testing.assert_array_equal(grid.pixel_areas(58, 3), areas[58:])
    assert grid.pixel_sides() == pytest.approx((degree, degree * np.cos(np.radians(30))), rel=1e-6)
