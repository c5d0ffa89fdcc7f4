"""What people made of the simulated Earth: parcels, towns and roads."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import csgraph

from fewshot.data.earth.climate import FieldPattern, Place
from fewshot.data.earth.terrain import (
    COARSE,
    Array,
    Field,
    Mask,
    Numbers,
    Points,
    Terrain,
    draw_lines,
    enlarge,
    grid_graph,
    noise,
)

HASHES = 4096
"""Parcels are numbered 0 to this less one; far-apart parcels may share a number, and so their looks."""


@dataclass(frozen=True, eq=False)
class Parcels:
    """The land cut up, whether it is farmed or not; maps are [H, W].

    Attributes:
        block: Number of the block of parcels of one direction, 0 to `HASHES` - 1.
        parcel: Number of the parcel, 0 to `HASHES` - 1.
        across: Pixels across the parcel's rows, for marks of tillage and streets, float32.
        along: Pixels along the rows, float32.
        edge: Where a parcel ends.
    """

    block: Numbers
    parcel: Numbers
    across: Field
    along: Field
    edge: Mask


def cut_parcels(rng: np.random.Generator, terrain: Terrain, pattern: FieldPattern) -> Parcels:
    """Cut the land into blocks, and blocks into parcels.

    Args:
        rng: Source of randomness.
        terrain: Of the place, [H, W].
        pattern: Of its fields.
    """
    size = len(terrain.height)
    rows, columns = (grid.astype(np.float32) for grid in np.mgrid[:size, :size])
    general = rng.uniform(0, np.pi)
    if pattern.turned:
        number, angle, (rows, columns) = _turned_blocks(rng, terrain, pattern.block, general, (rows, columns))
    else:
        angle = np.asarray(0.15 * general, np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    across, along = cos * columns + sin * rows, cos * rows - sin * columns
    if not pattern.turned:
        column, row = (np.floor(part / pattern.block).astype(np.int64) for part in (across, along))
        number = column * 977 + row
    block = hashed(number, 0)
    parcel = _cut(rng, block, across, along, pattern)
    ends = [np.diff(parcel, axis=axis, append=np.take(parcel, [-1], axis=axis)) != 0 for axis in (0, 1)]
    return Parcels(block, parcel, across.astype(np.float32), along.astype(np.float32), ends[0] | ends[1])


def _turned_blocks(
    rng: np.random.Generator, terrain: Terrain, side: float, general: float, at: tuple[Field, Field]
) -> tuple[Numbers, Array, tuple[Array, Array]]:
    """Cut the land into uneven blocks: number and direction of each pixel's, and its position from the middle."""
    size = len(terrain.height)
    seeds = scattered(rng, size, side)
    marks = np.ones((size, size), bool)
    marks[seeds[:, 0], seeds[:, 1]] = False
    nearest = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    bends = [3 * noise(rng, size, 25, 1.5) for _ in range(2)]
    bent = [np.clip(grid + bend, 0, size - 1).astype(np.int64) for grid, bend in zip(at, bends, strict=True)]
    row, column = (part[tuple(bent)] for part in nearest)
    # Rows follow the contour lines where there is a slope, and the neighbours' direction where there is none.
    thin = (part[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE] for part in (terrain.southness, terrain.eastness))
    south, east = (ndimage.gaussian_filter(part, 3)[row // COARSE, column // COARSE] for part in thin)
    swing = noise(rng, size, 90, 1.5)[row, column]
    steep = np.minimum(np.hypot(south, east) / 0.05, 1)
    angle = general + 0.5 * swing * (1 - steep) + steep * np.arctan2(south, east)
    return row * size + column, angle, (at[0] - row, at[1] - column)


def _cut(rng: np.random.Generator, block: Numbers, across: Array, along: Array, pattern: FieldPattern) -> Numbers:
    """Cut blocks into parcels, uneven ones in blocks that have their own direction."""
    uneven = np.exp(0.35 * pattern.turned * rng.standard_normal((2, HASHES)))
    shift = rng.uniform(0, 6, HASHES)[block]
    place = across / (pattern.width * uneven[0][block])
    strip = np.floor(place + 0.3 * pattern.turned * np.sin(1.9 * place + shift)).astype(np.int64)
    offset = rng.uniform(0, 1, HASHES)[hashed(strip, 3)] * pattern.turned
    piece = np.floor(along / (pattern.length * uneven[1][block]) + offset).astype(np.int64)
    if pattern.circles:
        half = pattern.block / 2
        radius = np.hypot(across % pattern.block - half, along % pattern.block - half)
        luck = rng.random((2, HASHES))
        watered = luck[0][block] < pattern.circles
        halved = (luck[1][block] < 0.4) & (across % pattern.block > half)
        strip = np.where(watered, np.where(radius < half - 1, 500 + halved, 600), strip)
        piece = np.where(watered, 0, piece)
    return hashed(block * 7919 + strip * 104729 + piece * 15485863, 7)


def hashed(number: Numbers, salt: int) -> Numbers:
    """Return numbers 0 to `HASHES` - 1 that tell nothing of their neighbours."""
    mixed = (number.astype(np.uint64) + np.uint64(salt * 7621 + 1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray((mixed >> np.uint64(40)) % np.uint64(HASHES), np.int64)


def scattered(rng: np.random.Generator, size: int, spacing: float) -> Numbers:
    """Return points [n, 2], row and column, spread over a square.

    Args:
        rng: Source of randomness.
        size: Side of the square, in pixels.
        spacing: About one point lies in each square of this side.
    """
    count = max(2, round(size / spacing))
    corners = np.stack(np.meshgrid(np.arange(count), np.arange(count), indexing="ij"), axis=-1).reshape(-1, 2)
    points = (corners + rng.uniform(0.1, 0.9, corners.shape)) * (size / count)
    return np.clip(points.astype(np.int64), 0, size - 1)


def place_towns(rng: np.random.Generator, terrain: Terrain, place: Place) -> tuple[Points, Points]:
    """Choose where towns stand [n, 2], row and column, and how far they reach [n], in pixels, largest first.

    Args:
        rng: Source of randomness.
        terrain: They keep to gentle ground near water.
        place: Its people say how many there are, and how large.
    """
    size = len(terrain.height)
    area = (size / 512) ** 2
    count = max(1, round(area * (2 + 14 * place.people)))
    fit = -12 * np.minimum(terrain.slope, 0.4) - 0.5 * np.minimum(np.abs(terrain.shore - 12) / 40, 2)
    fit = fit + 0.4 * noise(rng, size, 40, 1) - 5.0 * terrain.water
    spots = scattered(rng, size, 512 / 12)
    order = np.argsort(-(fit[spots[:, 0], spots[:, 1]] + 0.5 * rng.standard_normal(len(spots))))
    chosen = spots[order[:count]].astype(np.float64)
    largest = rng.uniform(22, 75) * (0.35 + place.people)
    reaches = np.maximum(largest / (1 + np.arange(len(chosen)) / max(area, 1)) ** 0.75, 5)
    return chosen, reaches


def lay_roads(rng: np.random.Generator, terrain: Terrain, towns: Points) -> Mask:
    """Join every town to a larger one, and the largest to the rim, by ways that avoid slopes and water.

    Args:
        rng: Source of randomness.
        terrain: Of the place, [H, W].
        towns: [n, 2] row and column, largest first.

    Returns:
        [H, W], where a road is.
    """
    size = len(terrain.height)
    cell = 2 * COARSE
    count = size // cell

    def thinned(values: Array) -> Array:
        return values.reshape(count, cell, count, cell).mean(axis=(1, 3))

    cost = 1 + 14 * thinned(terrain.slope) + 40 * thinned(terrain.water.astype(np.float32))
    cost *= np.exp(0.25 * noise(rng, count, 5, 0.7))
    row, column = np.clip(towns // cell, 0, count - 1).astype(np.int64).T
    nodes = row * count + column
    _, back = csgraph.dijkstra(grid_graph(cost), indices=nodes, return_predecessors=True)
    north, south, west = rng.integers(count, size=3)
    pairs = [(0, north), (0, (count - 1) * count + south), (0, west * count)]
    for town in range(1, len(nodes)):
        gaps = ((towns[:town] - towns[town]) ** 2).sum(axis=1)
        pairs.append((town, nodes[np.argmin(gaps)]))
    ways = [_way(back[town], int(end), count) * cell for town, end in pairs]
    widths = np.concatenate([np.full(len(way) - 1, 2.0 if i < 3 else 1.0) for i, way in enumerate(ways)])
    starts, ends = (np.concatenate([way[part] for way in ways]) for part in (np.s_[:-1], np.s_[1:]))
    return draw_lines(starts, ends, widths, size) & (terrain.shore > -7)  # bridges are short


def _way(back: Array, end: int, count: int) -> Points:
    """Return the cells [n, 2] of a way that was found, its corners rounded."""
    cells = [end]
    while back[cells[-1]] >= 0:
        cells.append(int(back[cells[-1]]))
    line = np.stack(np.divmod(np.array(cells), count), axis=1) + 0.5
    return np.asarray(ndimage.gaussian_filter1d(line, 1.5, axis=0, mode="nearest"), np.float64)


def build_towns(rng: np.random.Generator, towns: Points, reaches: Points, roads: Mask) -> Field:
    """Return how densely built every pixel is [H, W], 0-1: ragged towns that reach out along their roads.

    Args:
        rng: Source of randomness.
        towns: [n, 2] row and column.
        reaches: [n] pixels that each reaches.
        roads: [H, W] where a road is.
    """
    size, step = len(roads), 2
    rows, columns = np.mgrid[: size // step, : size // step].astype(np.float32) * step
    # Distances are stretched at random, so that no town is round.
    stretch = np.exp(0.45 * noise(rng, size // step, 5, 0.8) + 0.5 * noise(rng, size // step, 14, 1))
    density = np.zeros(rows.shape, np.float32)
    for (row, column), reach in zip(towns, reaches, strict=True):
        away = ((rows - np.float32(row)) ** 2 + (columns - np.float32(column)) ** 2) / np.float32(reach**2)
        density = np.maximum(density, np.exp(-0.7 * away * stretch))
    near = np.exp(-step * ndimage.distance_transform_edt(~(roads[::step, ::step] | roads[1::step, 1::step])) / 5)
    density += (0.1 * noise(rng, size // step, 2.5, 0.6) + 0.45 * near) * np.minimum(3 * density, 1)
    return np.asarray(np.clip(enlarge(density, size), 0, 1), np.float32)
