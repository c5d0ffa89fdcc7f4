"""What several rooms' tests share: real data where it is there, and small made-up data where it is not needed."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.region import ArrayStore, Region, RegionSet
from tests.eager import without_graphs

pytest_plugins = ["tests.exported.fixtures"]

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Give the program's cache a folder of this run's own, which every process of it shares."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="fewshot-cache-")
        config.add_cleanup(folder.cleanup)
        os.environ["FEWSHOT_CACHE"] = folder.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long files come first, so that all processes end at about the same time (with --no-loadscope-reorder)."""
    rooms = [ROOT / "tests" / name for name in ("training", "serving", "meta", "exported", "mapping")]
    items.sort(key=lambda item: next((i for i, room in enumerate(rooms) if room in item.path.parents), len(rooms)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave graphs as they were traced: rewriting them takes longer than the few steps that a quick test runs.

    With slow tests among those that run, they are rewritten as they are for users.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and not any(item.get_closest_marker("slow") for item in session.items):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """No graph is traced, from the first test that asks for it to the module's end."""
    with without_graphs():
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; skips where it is absent."""
    folder = Path(os.environ.get("FEWSHOT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} does not exist (set FEWSHOT_DATA)")
    return folder


@pytest.fixture(scope="session")
def omniglot_root(data_root: Path) -> Path:
    """The folder of Omniglot's minimal sets."""
    return _present(data_root / "omniglot", "images_background_small1.zip")


@pytest.fixture(scope="session")
def sen12ms_root(data_root: Path) -> Path:
    """The folder of the SEN12MS task archives."""
    return _present(data_root / "sen12ms_rgb64", "fall_122.zip")


def _present(folder: Path, file: str) -> Path:
    if not (folder / file).exists():
        pytest.skip(f"real data is not here: {folder / file} does not exist")
    return folder


@pytest.fixture
def make_set() -> Callable[..., RegionSet]:
    """Builds a set from {region: {class: images}}; image `i` is 4x4 pixels of value `i`, a source has two images."""

    def make(counts: dict[str, dict[str, int]], *, sources: bool = True) -> RegionSet:
        names: list[str] = []
        regions = []
        for region, classes in counts.items():
            start = len(names)
            labels = np.repeat(np.arange(len(classes)), list(classes.values()))
            names += [f"{region}/{list(classes)[label]}/{number}.png" for number, label in enumerate(labels)]
            images = np.arange(start, len(names))
            groups = np.arange(len(labels)) // 2 if sources else np.full(len(labels), -1)
            regions.append(Region(region, tuple(classes), images, labels, groups))
        pixels = (
            np.zeros((len(names), 4, 4, 1), np.uint8)
            + (np.arange(len(names)) % 256).astype(np.uint8)[:, None, None, None]
        )
        every = tuple(dict.fromkeys(name for classes in counts.values() for name in classes))
        return RegionSet("made-up", ArrayStore(names, pixels), tuple(regions), every)

    return make


@pytest.fixture
def write_picture() -> Callable[..., Path]:
    """Writes a small picture of one grey value or colour."""

    def write(path: Path, value: int | tuple[int, int, int] = 255, *, size: tuple[int, int] = (8, 8)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)
        return path

    return write
