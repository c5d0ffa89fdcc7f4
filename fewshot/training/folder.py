"""The run folder: everything a training run leaves, and how it is written so that a kill at any moment loses little.

    RUN/
    ├── recipe.json          the recipe, resolved
    ├── run.json             data paths, what was trained and validated on, versions
    ├── state.json           where training stands; names the checkpoint it belongs to
    ├── latest-000123.weights.h5     weights and optimizer after 123 updates
    ├── best.weights.h5      the weights with the best validation
    ├── history.csv          a row an epoch
    ├── validation_tasks.json        the frozen tasks of every validation
    ├── evaluation.json      the last evaluation on the recipe's own tasks, for the card of an export
    ├── pretrained.keras     the pretrained model of a network that has one, cut to the depths it uses
    ├── features/            its frozen features of the pictures; may be deleted
    └── tensorboard/

Files are written under another name and renamed, and `state.json` is renamed last: whatever it names is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fewshot.errors import ArtifactError
from fewshot.files import remove_unfinished, write_whole
from fewshot.training.recipe import Recipe, differences, make_recipe


@dataclass(frozen=True)
class TrainingState:
    """Where training stands.

    Attributes:
        updates: Meta-updates done.
        seconds: Training time so far, interruptions left out.
        checkpoint: File name of the weights and optimizer after these updates.
        best: The best validation figure so far; None before the first.
        best_updates: The updates it was reached after.
        validated: Updates after the last finished epoch; history.csv holds rows up to it.
        finished: Whether training reached its end.
    """

    updates: int = 0
    seconds: float = 0.0
    checkpoint: str = ""
    best: float | None = None
    best_updates: int = 0
    validated: int = 0
    finished: bool = False


class RunFolder:
    """Reads and writes one run folder."""

    def __init__(self, path: Path) -> None:
        """Name the folder and its files; nothing is read or made yet."""
        self.path = path
        self.best_weights = path / "best.weights.h5"
        self.history = path / "history.csv"
        self.validation_tasks = path / "validation_tasks.json"
        self.evaluation = path / "evaluation.json"
        self.features = path / "features"

    def open(self, recipe: Recipe, *, resume: bool) -> TrainingState:
        """Start a new run here, or go on with the one that is here.

        What a start left that ended before anything was trained, by an error in data or settings, is no run.

        Raises:
            ArtifactError: if there is a run and `resume` is false, or it was made with another recipe.
        """
        if not (self.path / "state.json").exists() and not self.best_weights.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            for left in (self.history, self.validation_tasks):
                left.unlink(missing_ok=True)
            self.write_json("recipe.json", recipe.as_tables())
            return TrainingState()
        if not resume:
            raise ArtifactError(
                f"{self.path} already holds a run. Add --resume to go on with it, or name another folder with --out."
            )
        changed = differences(self.recipe(), recipe)
        if changed:
            raise ArtifactError(
                f"{self.path} was trained with another recipe ({'; '.join(changed)}: the run's value against the one "
                "asked for). Resume it as it was started, or name another folder with --out."
            )
        remove_unfinished(self.path)
        return self.state()

    def recipe(self) -> Recipe:
        """Return the recipe the run was started with.

        Raises:
            ArtifactError: if this is not a run folder.
        """
        return make_recipe(self.read_json("recipe.json"))

    def state(self) -> TrainingState:
        """Return where training stands; the beginning if nothing was saved yet."""
        if not (self.path / "state.json").exists():
            return TrainingState()
        return TrainingState(**self.read_json("state.json"))

    def save(self, state: TrainingState, save_weights: Callable[[Path], None]) -> TrainingState:
        """Save a checkpoint and the state that names it; return that state."""
        name = f"latest-{state.updates:06d}.weights.h5"
        write_whole(self.path / name, save_weights, flush=True)
        state = replace(state, checkpoint=name)
        self.write_json("state.json", asdict(state))
        for old in self.path.glob("latest-*.weights.h5"):
            if old.name != name:
                old.unlink()
        return state

    def require_same_parts(self, parts: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Refuse data divided into other parts (places and classes of each, as in `run.json`) than at the run's start.

        Raises:
            ArtifactError: if a part has gained or lost some: what the run has seen might be tested.
        """
        before = self.read_json("run.json").get("parts", {})
        changes = []
        for name in sorted({*before, *parts}):
            for kind in ("places", "classes"):
                old, new = (set(all_of.get(name, {}).get(kind, ())) for all_of in (before, parts))
                for word, changed in (("gained", new - old), ("lost", old - new)):
                    if changed:
                        changes.append(f"{name} {word} {kind} {', '.join(sorted(changed)[:5])}")
        if changes:
            raise ArtifactError(
                f"The data of {self.path} is no longer divided as it was when the run was started "
                f"({'; '.join(changes[:6])}), so that what it has seen would be taken for unseen. Put the data back as "
                "it was; to evaluate, other regions can be named with --data."
            )

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the folder.

        Raises:
            ArtifactError: if it is missing or damaged.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(
                f"{self.path} is not a run folder: it has no {name}. `fewshot train` makes one."
            ) from None
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{self.path / name} is damaged: {error}.") from None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        text = json.dumps(content, indent=2) + "\n"
        write_whole(self.path / name, lambda path: path.write_text(text, encoding="utf-8"), flush=True)
