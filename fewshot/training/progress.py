"""The callback that saves a run, and the small ones around it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import keras

from fewshot.errors import DivergedError
from fewshot.files import write_whole
from fewshot.training.folder import RunFolder, TrainingState

SAVE_EVERY = 30.0
"""Seconds between checkpoints within an epoch."""


class SaveRun(keras.callbacks.Callback):
    """Saves weights, optimizer and state every half minute and after each epoch, and the best weights.

    Keras's `BackupAndRestore` starts an interrupted epoch again and overwrites its file in place; this one continues
    at the very update, and a kill during a save leaves the save before.
    """

    def __init__(self, folder: RunFolder, state: TrainingState, *, monitor: str, minutes: float = 0.0) -> None:
        """Make the callback.

        Args:
            folder: Where to save.
            state: Where training stands.
            monitor: The figure of `logs` that decides which weights are best; losses are better when smaller.
            minutes: Stop training after this much time, earlier sessions of the run included; 0 for no limit.
        """
        super().__init__()
        self.folder, self.state, self.monitor, self.minutes = folder, state, monitor, minutes
        self.began = time.monotonic() - state.seconds
        self.saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the update; save if the last save is long ago; stop if the time is up.

        Raises:
            DivergedError: if the loss is not finite; nothing is saved after that.
        """
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise DivergedError(
                f"The loss of the queries is not finite after {self.state.updates + 1} updates. Lower "
                "training.meta_rate, or set training.clip_norm=5.0, and train anew; "
                f"{self.folder.path} keeps the last sound checkpoint."
            )
        self.state = replace(self.state, updates=self.state.updates + 1, seconds=time.monotonic() - self.began)
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()
        if self.minutes and self.state.seconds > 60 * self.minutes:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best so far, and save."""
        figure = (logs or {}).get(self.monitor)
        if figure is not None:
            figure = float(figure)
            sign = -1 if "loss" in self.monitor else 1
            if self.state.best is None or sign * figure > sign * self.state.best:
                write_whole(self.folder.best_weights, self.model.save_weights, flush=True)
                self.state = replace(self.state, best=figure, best_updates=self.state.updates)
        self.state = replace(self.state, validated=self.state.updates)
        self.save()

    def save(self) -> None:
        """Save now."""
        self.state = self.folder.save(self.state, self.model.save_weights)
        self.saved = time.monotonic()

    def finish(self) -> TrainingState:
        """Mark the run as finished."""
        self.state = replace(self.state, finished=True)
        self.save()
        return self.state


class TaskSpeed(keras.callbacks.Callback):
    """Adds tasks per second to the logs, for the progress bar and the table of epochs."""

    def __init__(self, meta_batch_size: int) -> None:
        """Make the callback for meta-batches of this many tasks."""
        super().__init__()
        self.meta_batch_size = meta_batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock of this epoch."""
        self.began, self.batches, self.speed = time.monotonic(), 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the speed so far in this epoch; the first update, which traces the graph, does not count."""
        self.batches += 1
        if self.batches == 1:
            self.began = time.monotonic()
            return
        self.speed = (self.batches - 1) * self.meta_batch_size / max(time.monotonic() - self.began, 1e-9)
        if logs is not None:
            logs["tasks/s"] = self.speed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the speed of the epoch, as it was before its validation."""
        if logs is not None:
            logs["tasks/s"] = self.speed


def trim_history(folder: RunFolder, epochs: int) -> None:
    """Drop rows of epochs that the state does not know of: the kill came between the row and the state."""
    if not folder.history.exists():
        return
    head, *rows = folder.history.read_bytes().splitlines(keepends=True) or [b""]
    kept = [row for row in rows if row.strip() and int(row.partition(b",")[0]) < epochs]
    write_whole(folder.history, lambda path: path.write_bytes(b"".join([head, *kept])))
