"""Where pixels lie, and how large they are on the ground."""

from collections.abc import Callable

import numpy as np
import pyproj
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
    feet = make_grid(crs="EPSG:2263", corner=(1e6, 2e5), pixel=(100, 200))  # New York, in US survey feet
    assert feet.pixel_sides() == pytest.approx((200 * 0.3048006, 100 * 0.3048006))
    assert feet.pixel_areas(0, 1) == pytest.approx(20000 * 0.3048006**2)
    unknown = make_grid(crs=None, pixel=(10, 20))
    assert unknown.pixel_areas(0, 3).tolist() == [1, 1, 1] and unknown.pixel_sides() == (20, 10)


def test_pixels_in_degrees_narrow_towards_the_poles(make_grid: Make) -> None:
    grid = make_grid(61, 10, crs="EPSG:4326", corner=(10, 60.5), pixel=(1, 1))
    areas = grid.pixel_areas(0, 61)
    # metres of a degree of latitude and one of longitude on WGS 84, as tables have them
    assert areas[0] == pytest.approx(111_412 * 55_800, rel=1e-4)  # at 60 degrees north
    assert areas[60] == pytest.approx(110_574 * 111_320, rel=1e-4)
    np.testing.assert_array_equal(grid.pixel_areas(58, 3), areas[58:])
    assert grid.pixel_sides() == pytest.approx((110_852, 96_486), rel=1e-4)


def test_places_that_another_crs_does_not_know_are_nowhere_in_it(make_grid: Make) -> None:
    seen = make_grid(9, 9, crs="+proj=geos +h=35785831 +lon_0=0", corner=(-4.5e6, 4.5e6), pixel=(1e6, 1e6))
    other = make_grid(180, 360, crs="EPSG:4326", corner=(-180, 90), pixel=(1, 1))
    rows, columns = seen.to_grid(other, np.array([0.0, 4.5, 9.0]), np.array([0.0, 4.5, 4.5]))
    assert np.isfinite(rows).tolist() == np.isfinite(columns).tolist() == [False, True, True]
    assert (rows[1], columns[1]) == pytest.approx((90, 180))


@pytest.mark.parametrize(
    ("crs", "corner", "degrees"),
    [
        ("EPSG:3857", (1_500_000, 8_000_000), 0),  # Web Mercator at 58 degrees north, where 1 km is 530 m
        ("EPSG:3857", (20_037_000, -8_000_000), 30),  # across the antimeridian
        ("EPSG:3395", (1_500_000, 8_000_000), 0),
        ("EPSG:4326", (15, 58), 0),
        ("EPSG:4326", (15, 58), 30),
    ],
)
def test_pixels_are_as_large_as_on_the_ground(
    make_grid: Make, crs: str, corner: tuple[float, float], degrees: float
) -> None:
    side = 0.01 if crs == "EPSG:4326" else 1000
    grid = make_grid(6, 4, crs=crs, corner=corner, pixel=(side, side), degrees=degrees)
    geod = pyproj.Geod(ellps="WGS84")
    rows, columns = np.array([[0, 0, 1, 1], [5, 5, 6, 6]]), np.array([1.5, 2.5, 2.5, 1.5])
    for row, around in ((0, rows[0]), (5, rows[1])):
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        expected, _ = geod.polygon_area_perimeter(*to_degrees.transform(*grid.to_map(around, columns)))
        assert grid.pixel_areas(row, 1)[0] == pytest.approx(abs(expected), rel=1e-4)
    down, across = grid.pixel_sides()
    if crs != "EPSG:4326" or not degrees:  # turned in degrees, a pixel is no rectangle
        assert down * across == pytest.approx(grid.pixel_areas(2, 2).mean(), rel=1e-3)


def test_a_projection_that_ends_or_is_of_another_planet_is_taken_at_its_word(make_grid: Make) -> None:
    for crs, corner in (("EPSG:32633", (1e15, 1e15)), ("+proj=eqc +a=3396190 +b=3396190", (0, 4e6))):
        assert make_grid(crs=crs, corner=corner).pixel_areas(0, 2).tolist() == [100, 100]
