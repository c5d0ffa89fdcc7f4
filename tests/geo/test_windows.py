from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot.errors import RasterError
from fewshot.geo.windows import BlockGrid, Window, WindowGrid, around, blocks, counts_in, intersection


@st.composite
def grids(draw: st.DrawFn) -> WindowGrid:
    size = draw(st.integers(1, 12))
    overlap = draw(st.integers(0, size - 1))
    return WindowGrid(draw(st.integers(1, 40)), draw(st.integers(1, 40)), size, overlap)


def weights_of(grid: WindowGrid, number: int) -> np.ndarray:
    """Blending weights [H, W] of a window's pixels."""
    row, column = divmod(number, len(grid.columns))
    return np.outer(grid.row_weights[row], grid.column_weights[column]).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(grids())
def test_windows_cover_every_pixel_and_stay_inside(grid: WindowGrid) -> None:
    covered = np.zeros((grid.height, grid.width), int)
    for window in grid:
        assert window.row >= 0 and window.column >= 0
        assert covered[window.slices].shape == (min(grid.size, grid.height), min(grid.size, grid.width))
        covered[window.slices] += 1
    assert covered.min() >= 1
    assert len(set(grid)) == len(grid)


@settings(deadline=None, max_examples=60)
@given(grids())
def test_every_pixel_is_covered_once_in_effect(grid: WindowGrid) -> None:
    total = np.zeros((grid.height, grid.width))
    for number, window in enumerate(grid):
        weights = weights_of(grid, number)
        assert weights.min() > 0
        total[window.slices] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(deadline=None, max_examples=12)
@given(grids(), st.integers(4, 15))
def test_a_block_can_be_blended_alone(grid: WindowGrid, block: int) -> None:
    """The sum over the windows that touch a block is the block of the sum over all windows."""
    values = np.random.default_rng(0).random((len(grid), grid.size, grid.size))
    whole = np.zeros((grid.height, grid.width))
    for number, window in enumerate(grid):
        whole[window.slices] += weights_of(grid, number) * values[number, : window.height, : window.width]
    for area in blocks(grid.height, grid.width, block):
        alone = np.zeros((area.height, area.width))
        for number, window in enumerate(grid):
            shared = intersection(window, area)
            if shared is None:
                continue
            there = shared.within(window).slices
            alone[shared.within(area).slices] += weights_of(grid, number)[there] * values[number][there]
        np.testing.assert_array_equal(alone, whole[area.slices])


def test_weights_fall_smoothly_where_windows_overlap_and_not_at_the_scenes_edge() -> None:
    grid = WindowGrid(32, 32, 16, 8)
    (middle,) = [number for number, window in enumerate(grid) if window == Window(8, 8, 16, 16)]
    along = weights_of(grid, middle)[7]
    assert along[0] < 0.02
    assert along[-1] < 0.02
    assert np.abs(np.diff(along)).max() < np.pi / 2 / 8  # no seam: the slope of a raised cosine over 8 pixels
    np.testing.assert_allclose(weights_of(grid, 0)[0, :8], 1)  # the corner has nothing to blend with


@pytest.mark.parametrize("overlap", [0, 7, 12, 15])
def test_a_constant_scene_gives_a_constant_map(overlap: int) -> None:
    grid = WindowGrid(37, 53, 16, overlap)
    total = np.zeros((37, 53), np.float32)
    for number, window in enumerate(grid):
        total[window.slices] += weights_of(grid, number) * np.float32(0.25)
    np.testing.assert_allclose(total, 0.25, rtol=1e-6)


def test_the_last_windows_end_with_the_scene() -> None:
    grid = WindowGrid(10, 7, 4, 1)
    assert grid.rows.tolist() == [0, 3, 6]
    assert grid.columns.tolist() == [0, 3]
    assert list(grid)[-1] == Window(6, 3, 4, 4)
    assert [grid[1], grid[2]] == [Window(0, 3, 4, 4), Window(3, 0, 4, 4)]
    with pytest.raises(IndexError, match="6 windows"):
        grid[6]


@pytest.mark.parametrize("shape", [(3, 50), (50, 1), (1, 1), (5, 8)])
def test_a_scene_smaller_than_a_window_has_windows_as_small_as_itself(shape: tuple[int, int]) -> None:
    grid = WindowGrid(*shape, 8, 4)
    assert {(window.height, window.width) for window in grid} == {(min(8, shape[0]), min(8, shape[1]))}


def test_windows_of_an_enormous_scene_are_not_made_at_once() -> None:
    grid = WindowGrid(10**8, 10**8, 256, 64)
    assert len(grid) > 10**11
    assert next(iter(grid)) == Window(0, 0, 256, 256)
    assert grid[-1] == Window(10**8 - 256, 10**8 - 256, 256, 256)


@pytest.mark.parametrize("numbers", [(0, 5, 4, 0), (5, 5, 0, 0), (5, 5, 4, 4), (5, 5, 4, -1)])
def test_a_grid_that_cannot_cover_is_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(RasterError, match="overlap of .* cannot cover a scene of"):
        WindowGrid(*numbers)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_blocks_share_no_pixel_and_lie_on_multiples(height: int, width: int, size: int) -> None:
    covered = np.zeros((height, width), int)
    for block in blocks(height, width, size):
        covered[block.slices] += 1
        assert block.row % size == 0 and block.column % size == 0
    assert (covered == 1).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 6), st.integers(1, 6), st.integers(1, 60))
def test_patches_of_different_blocks_are_a_gap_apart(size: int, more: int, gap: int, stride: int, side: int) -> None:
    grid = BlockGrid(size + more, gap)
    rows, columns = (
        np.concatenate(parts)
        for parts in zip(*(grid.patches(cell, size, stride) for cell in grid.cells(side, side)), strict=True)
    )
    numbers = grid.number(rows, columns, size)
    assert (numbers >= 0).all()
    assert (rows + size <= side).all() and (columns + size <= side).all()
    apart = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns)) - size
    different = numbers[:, None] != numbers
    assert apart[different].min(initial=gap) >= gap


def test_a_patch_that_reaches_into_a_gap_has_no_block() -> None:
    grid = BlockGrid(8, 4)
    assert grid.number([0, 4, 5, 12], [0, 0, 0, 0], 4).tolist() == [0, 0, -1, 1 << 24]
    assert len(list(grid.cells(24, 12))) == 2
    with pytest.raises(RasterError, match="blocks of at least 1 pixel"):
        BlockGrid(0, 4)


def test_patches_around_pixels_are_moved_into_the_scene() -> None:
    rows, columns = around([0, 10, 19], [5, 0, 29], 8, (20, 30))
    assert rows.tolist() == [0, 6, 12]
    assert columns.tolist() == [1, 0, 22]


def test_counts_are_those_of_each_patch() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-2, 4, (20, 24)).astype(np.int32)
    rows, columns = rng.integers(0, 15, 9), rng.integers(0, 19, 9)
    counts = counts_in(labels, 5, rows, columns, 5)
    for count, row, column in zip(counts, rows, columns, strict=True):
        patch = labels[row : row + 5, column : column + 5]
        assert count.tolist() == [int((patch == index).sum()) for index in range(5)]
    assert counts_in(labels, 5, rows[:0], columns[:0], 5).shape == (0, 5)


def test_many_cells_are_made_one_by_one() -> None:
    assert len(list(islice(BlockGrid(256, 64).cells(10**7, 10**7), 5))) == 5
