"""The ground of the simulated Earth: random fields, heights, and the rivers that drain them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, sparse
from scipy.sparse import csgraph

PIXEL = 10.0
"""Side of a pixel in metres."""

COARSE = 4
"""Side, in pixels, of a cell of the coarse grid on which water finds its way."""

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Relief:
    """What kind of terrain a place has.

    Attributes:
        metres: From the lowest to the highest ground.
        dissection: 0-1, how much valleys rather than smooth swells shape it.
        sea: Share of the region under the sea.
        lakes: Share of the region that lakes may take.
        rivers: 0-1, how much water its rivers carry.
    """

    metres: float
    dissection: float
    sea: float
    lakes: float
    rivers: float


@dataclass(frozen=True, eq=False)
class Terrain:
    """Ground and water of a region; maps are [H, W].

    Attributes:
        height: Metres, float32.
        slope: Tangent of the steepest slope, float32.
        southness: Tangent of the slope down to the south, float32.
        eastness: Tangent of the slope down to the east, float32.
        drop: Metres above the nearest stream, float32.
        water: Rivers, lakes and sea.
        shore: Pixels to the nearest water, to a few pixels; within water, pixels to the shore, negative; float32.
    """

    height: Field
    slope: Field
    southness: Field
    eastness: Field
    drop: Field
    water: Mask
    shore: Field


def noise(rng: np.random.Generator, size: int, reach: float, smoothness: float = 1.0) -> Field:
    """Draw a random field whose nearby values are alike (with the spectrum of a Matern covariance).

    Args:
        rng: Source of randomness.
        size: Rows and columns.
        reach: Pixels over which values are alike.
        smoothness: 0.5 is rugged like rock, 2 is smooth like hills.

    Returns:
        [size, size] float32, mean 0, standard deviation about 1; opposite edges meet.
    """
    if reach >= 16 and size % 4 == 0:  # so smooth that half the pixels hold it
        return _doubled(noise(rng, size // 2, reach / 2, smoothness))
    white = fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    rows = fft.fftfreq(size).astype(np.float32)[:, np.newaxis]
    columns = fft.rfftfreq(size).astype(np.float32)[np.newaxis, :]
    wave = 1 + (rows**2 + columns**2) * np.float32((2 * np.pi * reach) ** 2)
    white *= np.exp(np.float32(-(smoothness + 1) / 2) * np.log(wave))
    white[0, 0] = 0
    field = fft.irfft2(white, s=(size, size))
    return np.asarray(field / field.std(), np.float32)


def _doubled(field: Field) -> Field:
    """Put a mean between each two pixels of a field whose opposite edges meet: [2 n, 2 n]."""
    tall = np.stack([field, (field + np.roll(field, -1, axis=0)) / 2], axis=1).reshape(-1, len(field))
    wide = np.stack([tall, (tall + np.roll(tall, -1, axis=1)) / 2], axis=2)
    return np.asarray(wide.reshape(len(tall), -1), np.float32)


def enlarge(field: Array, size: int) -> Field:
    """Interpolate a coarse field to [size, size], `size` a multiple of its own, without facets."""
    step = size // len(field)
    wide = field.astype(np.float32).repeat(step, axis=0).repeat(step, axis=1)
    wide = ndimage.uniform_filter(wide, step, mode="nearest")
    # An even window lies half a pixel off; the second one lies half a pixel off the other way.
    return np.asarray(ndimage.uniform_filter(wide, step, mode="nearest", origin=(step % 2) - 1), np.float32)


def top(field: Array, share: float) -> Mask:
    """Return where a field is among its highest values, over `share` of its pixels."""
    if share <= 0:
        return np.zeros(field.shape, bool)
    return np.asarray(field > np.quantile(field, 1 - share))


def scaled(values: Array) -> Field:
    """Return values less their mean, over their standard deviation."""
    return np.asarray((values - values.mean()) / (values.std() + 1e-6), np.float32)


def grid_graph(cost: Array) -> sparse.csr_array:
    """Link every cell to its eight neighbours, at the mean of both costs a cell of way: [n, n] to [n*n, n*n].

    Costs are positive.
    """
    count = len(cost)
    numbers = np.arange(count * count).reshape(count, count)
    starts, ends, prices = [], [], []
    for a, b, length in (
        (np.s_[:, :-1], np.s_[:, 1:], 1.0),
        (np.s_[:-1, :], np.s_[1:, :], 1.0),
        (np.s_[:-1, :-1], np.s_[1:, 1:], 2**0.5),
        (np.s_[:-1, 1:], np.s_[1:, :-1], 2**0.5),
    ):
        price = length * (cost[a] + cost[b]).ravel() / 2
        starts += [numbers[a].ravel(), numbers[b].ravel()]
        ends += [numbers[b].ravel(), numbers[a].ravel()]
        prices += [price, price]
    table = (np.concatenate(prices), (np.concatenate(starts), np.concatenate(ends)))
    return sparse.coo_array(table, shape=(count * count,) * 2).tocsr()


def shape_terrain(rng: np.random.Generator, size: int, relief: Relief) -> Terrain:
    """Raise a region's ground, drain it, and fill its lakes and its sea.

    Args:
        rng: Source of randomness.
        size: Rows and columns, a multiple of `COARSE`.
        relief: What kind of terrain.
    """
    count = size // COARSE
    swell = _swell(rng, count)
    sea = top(-swell + 0.12 * noise(rng, count, 8, 0.7), relief.sea)
    down, flow = _drain(rng, swell, sea)
    streams = (flow > max(0.0012 * count * count, 12)) | sea
    away, nearest = ndimage.distance_transform_edt(~streams, return_indices=True)
    # Between its streams the ground rises to ridges: what running water leaves of a plateau.
    ridges = (away / (np.quantile(away, 0.98) + 1e-6)) ** 0.8
    ridges = ndimage.gaussian_filter(ridges * (1 + 0.35 * noise(rng, count, 12, 0.8)), 0.7)
    coarse = swell + relief.dissection * 1.6 * (ridges - ridges.mean())
    coarse = np.minimum(coarse, np.where(streams, swell - relief.dissection * 0.5, np.inf))
    coarse = ndimage.gaussian_filter(coarse, 0.6)
    drop = np.maximum(coarse - coarse[tuple(nearest)], 0)
    metres = relief.metres / max(np.ptp(coarse), 1e-6)
    rough = noise(rng, size, 40, 0.8) * (0.02 * relief.metres + 0.4)
    height = enlarge((coarse - coarse.min()) * metres, size) + rough * enlarge(np.minimum(drop * 2, 1), size)
    water = enlarge(sea, size) > 0.5
    water |= _rivers(rng, down, flow, size, relief.rivers)
    water |= _lakes(rng, size, enlarge(drop, size), relief.lakes)
    return _describe(height, enlarge(drop * metres, size), water)


def _swell(rng: np.random.Generator, count: int) -> Points:
    """Return the large shapes of the ground [n, n], standard deviation about 1: swells, ranges and a tilt."""
    reach = rng.uniform(0.15, 0.4) * count
    ranges = 1 - 2 * np.abs(noise(rng, count, reach, 1.2))
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, count),) * 2, indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    tilt = rng.uniform(0.5, 1.6) * (np.cos(angle) * rows + np.sin(angle) * columns)
    return np.asarray(0.7 * noise(rng, count, reach, 1.3) + rng.uniform(0, 0.5) * ranges + tilt, np.float64)


def _drain(rng: np.random.Generator, swell: Points, sea: Mask) -> tuple[Numbers, Points]:
    """Let rain run off: for each cell the one it drains to (-1: none) [n*n], and the cells it drains [n, n]."""
    count = len(swell)
    # The cheapest way out keeps to low ground, so ways meet in valleys as rivers do, and no cell is a dead end.
    cost = np.exp(1.4 * swell + 0.5 * noise(rng, count, 5, 0.5))
    ring = np.minimum(np.arange(count), np.arange(count)[::-1])
    rim = np.minimum(ring[:, np.newaxis], ring)
    cost *= np.choose(np.minimum(rim, 3), (5, 2, 2, 1))  # rivers do not follow the edge of a picture
    at_rim = np.flatnonzero(rim == 0)
    at_rim = at_rim[np.argsort(swell.ravel()[at_rim])]
    outlets = np.flatnonzero(sea) if sea.any() else at_rim[:1]
    _, down, _ = csgraph.dijkstra(grid_graph(cost), indices=outlets, min_only=True, return_predecessors=True)
    down = np.where(down < 0, -1, down).astype(np.int64)
    flow = np.ones(count * count)
    if rng.random() < 0.5:  # a river comes from beyond the region
        flow[at_rim[len(at_rim) // 2]] += rng.uniform(0.1, 1.5) * count * count
    return down, gather_flow(down, flow).reshape(count, count)


def gather_flow(down: Numbers, flow: Points) -> Points:
    """Add to each cell's flow [n] what comes from all cells above it.

    `down` [n] is the cell that each drains to, -1 for none; without cycles.
    """
    depth = np.where(down >= 0, 1, 0)
    further = down.copy()
    while (further >= 0).any():  # each round doubles the way looked down
        depth = depth + np.where(further >= 0, depth[further], 0)
        further = np.where(further >= 0, further[further], -1)
    total = flow.copy()
    order = np.argsort(-depth, kind="stable")
    ends = np.flatnonzero(np.diff(depth[order])) + 1
    for cells in np.split(order, ends):  # from the farthest cells to the outlets
        if depth[cells[0]] > 0:
            np.add.at(total, down[cells], total[cells])
    return total


def _rivers(rng: np.random.Generator, down: Numbers, flow: Points, size: int, water: float) -> Mask:
    """Draw the rivers wide enough to be seen, with bends, wider where more water comes together."""
    count = len(flow)
    share = flow.ravel() / (count * count)
    cells = np.flatnonzero((share > 0.02 / max(water, 0.05)) & (down >= 0))
    bends = [1.5 * noise(rng, count, 4, 1.5) + 1.5 * noise(rng, count, 10, 2) for _ in range(2)]
    points = np.stack(np.divmod(np.arange(count * count), count), axis=1) + 0.5
    points = points + np.stack([bend.ravel() for bend in bends], axis=1)
    for _ in range(4):  # round the corners of the grid
        points[cells] = (points[cells] + points[down[cells]]) / 2
    widths = 5.0 * water * np.sqrt(share[cells]) * (size / 512) ** 0.5
    return draw_lines(points[cells] * COARSE, points[down[cells]] * COARSE, widths, size)


def draw_lines(starts: Points, ends: Points, widths: Points, size: int) -> Mask:
    """Draw straight pieces.

    Args:
        starts: [n, 2], row and column in pixels.
        ends: [n, 2].
        widths: [n], pixels; less than one counts as one.
        size: Rows and columns of the picture.

    Returns:
        [size, size], where a piece covers a pixel.
    """
    drawn = np.zeros((size, size), bool)
    if not len(starts):
        return drawn
    pieces = int(np.ceil(2 * np.abs(ends - starts).max())) + 1
    along = np.linspace(0, 1, pieces)[:, np.newaxis, np.newaxis]
    dots = (starts + along * (ends - starts)).reshape(-1, 2)
    radii = np.broadcast_to(np.maximum(widths, 1.0) / 2, (pieces, len(widths))).ravel()
    reach = int(radii.max()) + 1
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            near = row * row + column * column <= radii * radii
            at = np.floor(dots[near]).astype(np.int64) + (row, column)
            at = at[((at >= 0) & (at < size)).all(axis=1)]
            drawn[at[:, 0], at[:, 1]] = True
    return drawn


def _lakes(rng: np.random.Generator, size: int, drop: Field, share: float) -> Mask:
    """Fill hollows of low ground, none smaller than a hectare."""
    hollows = noise(rng, size, 0.035 * size, 1.5) + 0.35 * noise(rng, size, 8, 1) - 2.0 * np.minimum(drop, 1)
    lakes, number = ndimage.label(top(hollows, share))
    sizes = np.bincount(lakes.ravel(), minlength=number + 1)
    return np.asarray((sizes >= 100)[lakes] & (lakes > 0))


def _describe(height: Field, drop: Field, water: Mask) -> Terrain:
    """Level the water and measure slopes and shores."""
    level = np.where(water, ndimage.minimum_filter(height, 5), height)
    level = ndimage.gaussian_filter(level, 0.8)
    south, east = (-part for part in np.gradient(level, PIXEL))
    inside, shore = np.zeros(water.shape), np.full(water.shape, 1e3)
    if water.any():
        inside = ndimage.distance_transform_edt(water)
        thin = ndimage.maximum_filter(water, COARSE)[::COARSE, ::COARSE]
        shore = np.where(water, 0, COARSE * enlarge(ndimage.distance_transform_edt(~thin), len(water)))
    return Terrain(level, np.hypot(south, east), south, east, drop, water, np.asarray(shore - inside, np.float32))
