"""Exported models that the tests of several rooms share, each made once; what they need loads then."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fewshot.exported.predictor import LocalPredictor
    from tests.exported.models import Exported


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prototypes and learned rates on pictures of four bands, trained for a moment."""
    from tests.exported.models import made_once, train_rasters

    pictures = tmp_path_factory.mktemp("four_bands")
    folder = made_once(tmp_path_factory, "runs", lambda out: train_rasters(pictures, out / "trained"))
    return folder / "trained"


@pytest.fixture(scope="session")
def trained(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from tests.exported.models import exported_once

    return exported_once(tmp_path_factory, "trained", lambda: trained_run)


@pytest.fixture(scope="session")
def local(trained: Exported) -> LocalPredictor:
    from fewshot.exported.predictor import LocalPredictor

    return LocalPredictor(trained.folder)


@pytest.fixture(scope="session")
def box_model() -> Callable[[str], LocalPredictor]:
    """Loads a model in the box by its name; each once."""
    from fewshot.exported import LocalPredictor, find_model

    return lru_cache(lambda name: LocalPredictor(find_model(name)))


@pytest.fixture(scope="session")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of red, green and blue."""
    from tests.exported.models import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def make_pictures_run(pictures_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes an untrained run on pictures of red, green and blue, with settings of the recipe changed."""
    from tests.exported.models import settings_of, write_run

    def make(*changed: str) -> Path:
        return write_run(tmp_path_factory.mktemp("runs") / "pictures", settings_of(*changed), [pictures_folder])

    return make


@pytest.fixture(scope="session")
def pictures(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A fixed head over global classes, of a network for any size, on pictures of red, green and blue."""
    from tests.exported.models import exported_once

    changed = ('tasks.labels="global"', 'learner.head="fixed"', "learner.restrict=true", 'network.readout="average"')
    return exported_once(tmp_path_factory, "pictures", lambda: make_pictures_run(*changed))


@pytest.fixture(scope="session")
def local_pictures(pictures: Exported) -> LocalPredictor:
    from fewshot.exported.predictor import LocalPredictor

    return LocalPredictor(pictures.folder)


@pytest.fixture(scope="session")
def transductive(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Batch normalisation, exported with leave; five steps by default, limits below that."""
    from fewshot.exported.card import Limits
    from serving.graph.export import ExportOptions
    from tests.exported.models import exported_once

    changed = ('network.normalization="batch"', "learner.evaluation_steps=5")
    options = ExportOptions(transductive=True, limits=Limits(steps=3, examples=9))
    return exported_once(tmp_path_factory, "transductive", lambda: make_pictures_run(*changed), options)
