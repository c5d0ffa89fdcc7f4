"""The models in the box: exported models that ship with the program, named like files are, without a slash.

Each is a folder of `fewshot/exported/box`, made by `make models`. Its card says what it was made of and how, with the
seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fewshot.errors import DataNotFoundError
from fewshot.exported.card import Card, read_card
from fewshot.exported.versions import newest_version
from fewshot.tables import nearest

BOX = Path(__file__).parent / "box"


def model_names() -> list[str]:
    """Return the names of the models in the box."""
    return sorted(entry.name for entry in BOX.iterdir() if entry.is_dir()) if BOX.is_dir() else []


def find_model(asked: str | Path) -> Path:
    """Return the folder of a model: the one that is named, or else the model in the box of this name.

    Raises:
        DataNotFoundError: if there is neither.
    """
    path, names = Path(asked), model_names()
    if path.is_dir():
        return path
    if str(asked) in names:
        return BOX / str(asked)
    raise DataNotFoundError(
        f"There is no folder {asked}, and no model of this name in the box ({', '.join(names) or 'none'})."
        f"{nearest(str(asked), names)} `fewshot models` lists those in the box; `fewshot export RUN --to DIR` makes "
        "DIR/NAME/N of a run."
    )


def models_table() -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return heads and rows of the models in the box: what they map, from which bands, how good they were measured."""
    rows = []
    for name in model_names():
        card = read_card(newest_version(BOX / name))
        rows.append((name, _answers_for(card), _bands(card), card.data.name, _measured(card)))
    return ("model", "answers for", "bands", "trained on", "measured"), rows


def _answers_for(card: Card) -> str:
    size = f"{card.size.rows}x{card.size.columns} pixels"
    return f"each pixel of windows of {size}" if card.output == "pixel" else f"pictures of {size}"


def _bands(card: Card) -> str:
    names = ", ".join(card.band_names)
    return names + (" (any may be missing)" if card.missing_bands else "") + (", any unit" if card.unit_free else "")


def _measured(card: Card) -> str:
    found = card.accuracy
    if found is None:
        return "not measured"
    part = f" ({found.split})" if found.split else ""
    data = found.data.partition("/")[0]
    return f"{100 * found.mean:.1f} ± {100 * found.ci95:.1f} % on {found.tasks} tasks of {data}{part}"
