import numpy as np
import pytest
from scipy.sparse import csgraph

from fewshot.data.earth.climate import SEASONS, choose_seasons, draw_place, draw_sight
from fewshot.data.earth.landscape import draw_landscape, natural_shares
from fewshot.data.earth.people import HASHES, hashed
from fewshot.data.earth.terrain import Relief, draw_lines, enlarge, gather_flow, grid_graph, noise, shape_terrain, top


@pytest.mark.parametrize(("reach", "size"), [(3, 64), (40, 256)])
def test_noise_is_standard_and_alike_over_its_reach(reach: float, size: int) -> None:
    fields = np.stack([noise(np.random.default_rng(k), size, reach) for k in range(30)])
    assert fields.dtype == np.float32
    assert abs(fields.mean()) < 1e-5
    assert fields.std() == pytest.approx(1, abs=0.05)

    def alike(gap: int) -> float:
        return float((fields * np.roll(fields, gap, axis=1)).mean())

    assert alike(1) > 0.9 > alike(round(reach)) > 0.3 > abs(alike(size // 2))


def test_enlarging_keeps_means_and_places() -> None:
    rows = np.arange(16.0)[:, np.newaxis] + np.zeros((16, 16))
    for size in (32, 64):
        wide = enlarge(rows, size)
        assert wide.shape == (size, size)
        expected = (np.arange(size) + 0.5) * 16 / size - 0.5
        np.testing.assert_allclose(wide[size // 4 : -size // 4, 7], expected[size // 4 : -size // 4], atol=1e-4)


def test_top_takes_its_share() -> None:
    field = np.random.default_rng(0).random((50, 50))
    assert top(field, 0.2).mean() == pytest.approx(0.2, abs=1e-3)
    assert field[top(field, 0.2)].min() > field[~top(field, 0.2)].max()
    assert not top(field, 0).any()


def test_flow_gathers_along_its_way() -> None:
    # 4 -> 3 -> 1 -> 0, 2 -> 0, 5 by itself
    down = np.array([-1, 0, 0, 1, 3, -1])
    assert gather_flow(down, np.array([1.0, 1, 1, 1, 10, 1])).tolist() == [14, 12, 1, 11, 10, 1]


def test_the_graph_prefers_cheap_ground() -> None:
    cost = np.full((5, 5), 10.0)
    cost[4, :] = cost[:, 4] = 1
    away, back = csgraph.dijkstra(grid_graph(cost), indices=20, return_predecessors=True)
    assert away[4] == pytest.approx(6 + 2**0.5)  # along the cheap rim, over one corner
    assert back[4] == 9


def test_lines_are_whole_and_as_wide_as_asked() -> None:
    starts, ends = np.array([[10.5, 5.5]]), np.array([[10.5, 40.5]])
    thin, thick = (draw_lines(starts, ends, np.array([width]), 48) for width in (1.0, 7.0))
    assert thin.sum(axis=0)[5:41].tolist() == [1] * 36
    assert thick.sum(axis=0)[20] == 7
    assert not draw_lines(starts[:0], ends[:0], np.zeros(0), 48).any()


def test_rivers_run_down_and_the_sea_is_level() -> None:
    terrain = shape_terrain(np.random.default_rng(3), 256, Relief(300, 0.8, 0.2, 0.0, 0.9))
    assert 0.2 <= terrain.water.mean() < 0.3
    assert (terrain.shore[terrain.water] < 0).all() and (terrain.shore[~terrain.water] >= 0).all()
    assert np.ptp(terrain.height) == pytest.approx(300, rel=0.3)
    near, far = (terrain.shore > 0) & (terrain.shore < 8), terrain.shore > 30
    assert terrain.height[terrain.water].mean() < terrain.height[near].mean() < terrain.height[far].mean()
    assert terrain.drop[terrain.water].mean() < 0.3 * terrain.drop[far].mean()


def test_climates_decide_what_grows() -> None:
    places = [draw_place(np.random.default_rng(number), number) for number in range(300)]
    shares = np.stack([natural_shares(np.random.default_rng([1, place.number]), place) for place in places])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    moist, warm = (np.array([getattr(place, name) for place in places]) for name in ("humidity", "temperature"))
    forest, barren, snow = shares[:, 0], shares[:, 5], shares[:, 6]
    assert forest[(moist > 0.6) & (warm > 0)].mean() > 0.25 > 0.05 > forest[moist < 0.25].mean()
    assert barren[moist < 0.15].mean() > 0.4 > 0.2 > barren[moist > 0.5].mean()
    assert snow[warm < 0].mean() > 0.1 > 0.01 > snow[warm > 18].mean()


def test_people_farm_as_much_of_the_land_as_they_use() -> None:
    places = [draw_place(np.random.default_rng(number), number) for number in range(14)]
    covers = [draw_landscape(np.random.default_rng(place.number), 256, place).classes for place in places]
    farmed = np.array([np.isin(cover, (12, 14)).mean() for cover in covers])
    people = np.array([place.people for place in places])
    assert (farmed <= 0.78 * people + 0.01).all()  # pastures, woodlots, towns and water take some of it
    assert np.corrcoef(farmed, people)[0, 1] > 0.8


def test_summers_are_warm_and_the_sun_is_in_the_south_of_the_north() -> None:
    for number in range(40):
        place = draw_place(np.random.default_rng(number), number)
        sights = {season: draw_sight(np.random.default_rng(number), place, season) for season in SEASONS}
        warm, cold = ("summer", "winter") if place.latitude > 0 else ("winter", "summer")
        assert sights[warm].warmth > sights[cold].warmth
        assert np.hypot(*sights[warm].sun[:2]) ** 2 + sights[warm].sun[2] ** 2 == pytest.approx(1)
        if abs(place.latitude) > 30:
            assert np.sign(sights["spring"].sun[1]) == np.sign(place.latitude)
        assert sights["spring"].sun[0] > 0
        first, second = choose_seasons(np.random.default_rng(number), place)
        assert first != second


def test_hashes_tell_nothing_of_their_neighbours() -> None:
    found = hashed(np.arange(100_000), 1)
    assert 0 <= found.min() and found.max() < HASHES
    assert np.bincount(found, minlength=HASHES).max() < 60
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.02
