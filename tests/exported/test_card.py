"""The card: what is written is what is read, and what is no card is said to be none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewshot.errors import ArtifactError
from fewshot.exported.card import (
    AdaptedLayout,
    Card,
    CardBand,
    ClassEntry,
    DataSource,
    InputSize,
    Limits,
    MeasuredAccuracy,
    PixelCost,
    Rates,
    SignatureNote,
    TensorNote,
    card_from_json,
    read_card,
)

CARD = Card(
    title="Land cover – ten classes",
    bands=(CardBand("B4", 1e-4, -0.1, "reflectance", "uint16", 665.0), CardBand("B3")),
    value_type="float32",
    size=InputSize(32, 64),
    output="patch",
    label_space="global",
    classes=(ClassEntry("Water", "#0000ff"), ClassEntry("Forest")),
    head="fixed",
    outputs=2,
    steps=3,
    limits=Limits(steps=9, examples=8, queries=7, classes=2),
    rates=Rates("constant", 0.1, 0.1, 0.1, 0.1),
    transductive=False,
    data=DataSource("SEN12MS", "CC BY 4.0"),
    recipe={"network": {"kind": "conv4"}},
    adapted=AdaptedLayout(10, 3, 12345),
    accuracy=MeasuredAccuracy(0.65, 0.02, 600, 4, [2, 2, 1, 2], 3, "held-out regions"),
    versions={"fewshot": "0.1.0"},
    cost=PixelCost(28_000.0, 310.5),
    signatures={
        "card": SignatureNote(
            "x", {"document": TensorNote("string", "[]", "y")}, {"json": TensorNote("string", "[]", "z")}
        )
    },
)


def write(folder: Path, text: str) -> Path:
    (folder / "assets.extra").mkdir(exist_ok=True)
    (folder / "assets.extra" / "card.json").write_text(text, encoding="utf-8")
    return folder


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_card(write(tmp_path, CARD.to_json())) == CARD
    assert card_from_json(CARD.to_json().encode()) == CARD
    assert card_from_json(replace(CARD, accuracy=None, outputs=None).to_json()).accuracy is None
    assert CARD.band_names == ("B4", "B3")


def test_keys_of_later_versions_are_left_out() -> None:
    content = json.loads(CARD.to_json())
    content["mood"] = "sunny"
    content["bands"][0]["sensor"] = "Sentinel-2"
    assert card_from_json(json.dumps(content)) == CARD


def test_whole_numbers_are_numbers() -> None:
    content = json.loads(CARD.to_json())
    content["bands"][1]["scale"] = 1
    assert card_from_json(json.dumps(content)).bands[1].scale == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not the card of an exported model"),
        ({"format_version": 2}, "format version 2; this program reads 1"),
        ({"steps": "three"}, "steps = 'three': expected a whole number"),
        ({"steps": True}, "steps = True"),
        ({"bands": {}}, "bands = {}"),
        ({"output": "cloud"}, "expected one of 'patch', 'pixel'"),
        ({"limits": {"steps": None}}, "limits.steps = None"),
        ({"size": {"rows": 3}}, "size.columns is missing"),
    ],
)
def test_what_a_card_cannot_hold_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError) as error:
        card_from_json(json.dumps({**json.loads(CARD.to_json()), **change}), where="card.json")
    assert message in str(error.value)
    assert "card.json" in str(error.value)


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match="not an exported model"):
            read_card(folder)
    for text in ("{", "[]", '"card"'):
        with pytest.raises(ArtifactError, match=r"card\.json is not"):
            read_card(write(tmp_path, text))
