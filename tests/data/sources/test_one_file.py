"""A new source is one file and one line in the list: from a recipe to a trained run and its card."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fewshot.data.source import keys_of, source_class
from fewshot.data.sources import SOURCES
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.exported.card import read_card
from fewshot.training.folder import RunFolder
from fewshot.training.recipe import make_recipe, read_recipe
from fewshot.training.train import train
from serving.graph.export import export

FILE = '''
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fewshot.data.bands import StoredBand
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.data.source import Source


@dataclass(frozen=True)
class Stripes(Source):
    """Pictures of stripes, lying and standing."""

    name: ClassVar[str] = "stripes"
    one_path: ClassVar[bool] = True

    side: int = 8

    def read(self, paths: Sequence[Path]) -> RegionSet:
        names = [line for line in paths[0].read_text().split()]
        rng = np.random.default_rng(0)
        images = (255 * (np.indices((self.side, self.side)) % 2)).astype(np.uint8)[..., np.newaxis]  # [2, H, W, 1]
        labels = np.tile([0, 1], 4)
        regions = tuple(
            Region(name, ("lying", "standing"), np.arange(8) + 8 * number, labels, np.full(8, -1))
            for number, name in enumerate(names)
        )
        pixels = np.concatenate([images[labels] // rng.integers(1, 3) for _ in names])
        store = ArrayStore([f"{name}/{i}" for name in names for i in range(8)], pixels)
        return RegionSet("stripes", store, regions, ("lying", "standing"))

    def describe_bands(self, regions: RegionSet) -> tuple[StoredBand, ...]:
        return (StoredBand("light", scale=1 / 255, stored="uint8"),)
'''
SETTINGS = [
    *("data.source=stripes", "data.side=12", 'data.validation=["b"]', "data.test=[]", "tasks.ways=2", "tasks.shots=1"),
    *("tasks.queries=1", "tasks.validation_queries=1", "network.filters=4", "network.blocks=2", "training.updates=2"),
    *("training.validate_every=2", "training.validation_tasks=4"),
]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_stripes.py").write_text(FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, "stripes", "toy_stripes:Stripes")


@pytest.mark.slow
@pytest.mark.usefixtures("listed")
def test_a_source_of_ones_own_is_read_trained_and_exported(tmp_path: Path) -> None:
    recipe = read_recipe("demo", settings=SETTINGS)
    assert make_recipe(recipe.as_tables()) == recipe
    places, run = tmp_path / "places.txt", tmp_path / "run"
    places.write_text("a b c", encoding="utf-8")
    train(recipe, [places], run, verbose=0)
    assert RunFolder(run).state().finished
    assert RunFolder(run).recipe() == recipe
    card = read_card(export(run, tmp_path / "models"))
    assert (card.bands[0].name, card.value_type, card.size.rows) == ("light", "uint8", 12)
    assert card.recipe["data"]["side"] == 12
    assert "your own data" in card.data.licence


@pytest.mark.usefixtures("listed")
def test_its_keys_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="data.side = 5 means nothing to data.source = 'synthetic'; it is read by stri"
    ):
        read_recipe("demo", settings=["data.side=5"])
    with pytest.raises(
        RecipeError, match=r"unknown key data.sidde. Did you mean 'side'\? Known here: on_damaged, side"
    ):
        read_recipe("demo", settings=["data.source=stripes", "data.sidde=5"])
    with pytest.raises(RecipeError, match="data.side = 'wide': expected a whole number"):
        read_recipe("demo", settings=["data.source=stripes", "data.side=wide"])
    source = read_recipe("demo", settings=["data.source=stripes"]).data.source
    with pytest.raises(DataNotFoundError, match="reads stripes data from files, and none were named"):
        source.open([])
    with pytest.raises(DataNotFoundError, match="There is no file or folder"):
        source.open([tmp_path / "nowhere"])
    with pytest.raises(DataNotFoundError, match="stripes reads one file or folder; 2 were named"):
        source.open([tmp_path, tmp_path])


def test_an_unknown_source_is_told_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="data.source = 'senn12ms': expected one of 'omniglot', 'omniglot_tfds'"):
        read_recipe("demo", settings=["data.source=senn12ms"])


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_called_as_it_is_listed_and_says_its_keys(name: str) -> None:
    assert source_class(name).name == name
    own = set(keys_of(name)) - {"on_damaged"}
    texts = [kind.__doc__ or "" for kind in source_class(name).__mro__]
    assert all(any(f"{key}:" in text for text in texts) for key in own)


def test_the_list_of_sources_reads_no_file_format() -> None:
    code = "import sys, fewshot.data.source; print([n for n in ('rasterio', 'PIL', 'scipy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
