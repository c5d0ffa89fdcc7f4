"""Adapted models as files: read as they were written, also by versions before this one, and refused where they are of
another model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import ArtifactError, DataNotFoundError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import AdaptedLayout
from fewshot.exported.predictor import AdaptedVector, SupportLoss
from fewshot.geo.landcover import ClassTable, LandClass
from tests.exported.test_card import CARD

VECTOR = np.array([12345.0, 0.5, -1.5], np.float32)
TABLE = ClassTable("mine", (LandClass("lake", (7,), (1, 2, 3)), LandClass("wood", ())))
MODEL = AdaptedModel(AdaptedVector(VECTOR, 2, SupportLoss(1.5, 0.25)), TABLE, (7, 8), 12345)


def test_an_adapted_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "mine.npz")
    found = AdaptedModel.load(tmp_path / "mine.npz", CARD)
    assert np.array_equal(found.adapted.vector, VECTOR) and found.adapted.vector.dtype == np.float32
    assert (found.adapted.classes, found.adapted.support_loss) == (2, (1.5, 0.25))
    assert (found.table, found.values, found.fingerprint) == (TABLE, (7, 8), 12345)
    assert found.adapted.confusion is None


def test_what_held_out_labels_were_taken_for_stays_with_the_model(tmp_path: Path) -> None:
    counts = np.array([[3, 1], [0, 4]], np.int32)
    replace(MODEL, adapted=replace(MODEL.adapted, confusion=counts)).save(tmp_path / "mine.npz")
    found = AdaptedModel.load(tmp_path / "mine.npz", CARD).adapted.confusion
    assert found is not None and np.array_equal(found, counts)


def test_the_file_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """A file with the keys of format 1, as every version has written them."""
    classes = [
        {"name": "lake", "ids": [7], "colour": [1, 2, 3], "value": 7},
        {"name": "wood", "ids": [], "colour": None, "value": 8},
    ]
    about = {"fewshot_adapted": 1, "fingerprint": 12345, "table": "mine", "classes": classes}
    np.savez(tmp_path / "old.npz", vector=VECTOR, support_loss=np.array([1.5, 0.25]), about=json.dumps(about))
    assert AdaptedModel.load(tmp_path / "old.npz", CARD).table == TABLE
    MODEL.save(tmp_path / "new.npz")
    with np.load(tmp_path / "old.npz") as old, np.load(tmp_path / "new.npz") as new:
        assert set(old) == set(new)
        assert json.loads(str(old["about"])) == json.loads(str(new["about"]))
        assert all(old[name].dtype == new[name].dtype and np.array_equal(old[name], new[name]) for name in old)


def test_what_is_no_adapted_model_of_this_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no adapted model"):
        AdaptedModel.load(tmp_path / "none.npz", CARD)
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    with pytest.raises(ArtifactError, match="is not an adapted model"):
        AdaptedModel.load(tmp_path / "text.npz", CARD)
    MODEL.save(tmp_path / "mine.npz")
    with pytest.raises(ArtifactError, match=r"mine\.npz was adapted from another model"):
        AdaptedModel.load(tmp_path / "mine.npz", replace(CARD, adapted=AdaptedLayout(10, 3, 1)))
