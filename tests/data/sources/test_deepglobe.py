from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.sources.deepglobe import read_deepglobe
from fewshot.errors import DamagedDataError, DataNotFoundError, RecipeError
from tests.data.trees import DEEPGLOBE, deepglobe_tree


def test_an_image_is_a_region_of_sixteen_windows_with_pixel_labels(tmp_path: Path) -> None:
    data = read_deepglobe(deepglobe_tree(tmp_path, images=2))
    assert data.region_names == ("1000", "1001")
    assert all(len(region.images) == 16 for region in data.regions)
    mask = np.asarray(Image.open(tmp_path / "train" / "1001_mask.png"))
    labels = data.store.read_labels(data.regions[1].images)
    image = data.store.read(data.regions[1].images)
    for cell, (window, pixels) in enumerate(zip(labels, image, strict=True)):
        row, column = divmod(cell, 4)
        colour = tuple(mask[16 * row, 16 * column].tolist())
        assert np.unique(window).tolist() == [-1 if colour == (0, 0, 0) else DEEPGLOBE.index(colour)]
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), np.array(colour) / 2 / 255 + 0.035, atol=0.05)


def test_windows_are_averaged_to_the_size_asked_for(tmp_path: Path) -> None:
    data = read_deepglobe(deepglobe_tree(tmp_path, images=1), size=8)
    assert data.store.read([0]).shape == (1, 8, 8, 3)
    assert data.store.read_labels([0]).shape == (1, 8, 8)
    with pytest.raises(RecipeError, match="divides a window of 16 pixels"):
        read_deepglobe(tmp_path, size=5)
    with pytest.raises(RecipeError, match="a quarter of an image, 16 pixels; received data.window = 32"):
        read_deepglobe(tmp_path, window=32)
    assert read_deepglobe(tmp_path, window=16).store.shape == (16, 16, 3)


def test_a_colour_of_no_class_is_named_with_its_mask(tmp_path: Path) -> None:
    deepglobe_tree(tmp_path, images=1)
    path = tmp_path / "train" / "1000_mask.png"
    # Cut at 128, (200, 10, 10) is pure red, which is no class.
    Image.fromarray(np.full((64, 64, 3), (200, 10, 10), np.uint8)).save(path)
    with pytest.raises(DamagedDataError, match="1000_mask.png.*have a colour of no class, the first"):
        read_deepglobe(tmp_path).store.read_labels([0])


def test_a_missing_mask_is_named_or_skipped(tmp_path: Path) -> None:
    deepglobe_tree(tmp_path, images=2)
    (tmp_path / "train" / "1000_mask.png").unlink()
    with pytest.raises(DamagedDataError, match="1000_sat.jpg has no mask"):
        read_deepglobe(tmp_path)
    data = read_deepglobe(tmp_path, on_damaged="skip")
    assert data.region_names == ("1001",)
    assert len(data.skipped) == 1


def test_a_folder_that_is_not_deepglobe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is not a DeepGlobe folder"):
        read_deepglobe(tmp_path)
