"""The log of a project: every step is a row of an SQLite file, on the disk before it is answered for.

Undo and redo are rows too, so nothing is ever overwritten: the state is what the steps that count make of nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import ArtifactError, RecipeError
from fewshot.label.edits import Step, apply_steps
from fewshot.label.state import ProjectState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, step TEXT, sent TEXT) STRICT;
"""
_COLUMNS = "SELECT name FROM pragma_table_info('log')"
_FORMAT = "1"

Entry = Literal["edit", "undo", "redo"]


class EditLog:
    """A project's log, and the state that it makes. Threads may share one; no other process may write to its file."""

    def __init__(self, path: Path) -> None:
        """Open a log, or begin one.

        Raises:
            ArtifactError: if the file is none, or of a later version.
        """
        self.path = path
        self._lock = threading.RLock()
        self._done: list[int] = []
        self._undone: list[int] = []
        self._sent: set[str] = set()
        self._revision = 0
        try:
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._open()
        except (sqlite3.Error, ValueError, TypeError, LookupError) as error:
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactError(
                f"{path} is no project's log, or is damaged: {error}. Name another --project"
            ) from error

    def _open(self) -> None:
        """Read what there is."""
        for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.executescript(_SCHEMA)
        if self.about("format", _FORMAT) != _FORMAT:
            raise ArtifactError(f"{self.path} was written by a later version of this program; open it with that one")
        if ("sent",) not in self._base.execute(_COLUMNS).fetchall():  # an earlier version's
            self._base.execute("ALTER TABLE log ADD COLUMN sent TEXT")
        for number, kind, sent in self._base.execute("SELECT number, kind, sent FROM log ORDER BY number"):
            self._count(number, kind, sent or "")
        self._state = apply_steps(ProjectState(), self._steps())

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    @property
    def state(self) -> ProjectState:
        """What all that counts has made."""
        return self._state

    @property
    def revision(self) -> int:
        """Rises with every edit, undo and redo."""
        return self._revision

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back."""
        return bool(self._undone)

    def snapshot(self) -> tuple[int, ProjectState]:
        """Return revision and state that belong together."""
        with self._lock:
            return self._revision, self._state

    def about(self, key: str, default: str) -> str:
        """Return what the project keeps under a key; the default is kept from now on where it keeps nothing."""
        with self._lock:
            self._base.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, default))
            ((value,),) = self._base.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchall()
            return str(value)

    def edit(self, step: Step, sent: str = "") -> ProjectState:
        """Do a step; when this returns, it is on the disk. One that changes nothing is none.

        Args:
            step: Its edits.
            sent: Id that its sender gave it: one that is in the log is not done again. "" for none.

        Raises:
            RecipeError: if an edit does not fit; nothing is changed then.
        """
        with self._lock:
            if sent in self._sent:
                return self._state
            made = apply_steps(self._state, [step])
            return made if made == self._state else self._write("edit", made, sent, step)

    def undo(self, sent: str = "") -> ProjectState:
        """Take the last step that counts back, unless the id says that this was done.

        Raises:
            RecipeError: if there is none.
        """
        with self._lock:
            if sent in self._sent:
                return self._state
            if not self._done:
                raise RecipeError("there is nothing to undo")
            return self._write("undo", apply_steps(ProjectState(), self._steps(but_last=True)), sent)

    def redo(self, sent: str = "") -> ProjectState:
        """Do the step again that was taken back last, unless the id says that this was done.

        Raises:
            RecipeError: if there is none, or something else was done since.
        """
        with self._lock:
            if sent in self._sent:
                return self._state
            if not self._undone:
                raise RecipeError("there is nothing to redo")
            return self._write("redo", apply_steps(self._state, [self._step(self._undone[-1])]), sent)

    def _write(self, kind: Entry, state: ProjectState, sent: str, step: Step | None = None) -> ProjectState:
        """Add a row, in a transaction of its own, and take the state that it leads to."""
        text = None if step is None else json.dumps(step, separators=(",", ":"))
        try:
            row = self._base.execute("INSERT INTO log (kind, step, sent) VALUES (?, ?, ?)", (kind, text, sent or None))
        except sqlite3.Error as error:
            raise ArtifactError(f"{self.path} cannot be written, so nothing was changed: {error}") from error
        self._count(int(row.lastrowid or 0), kind, sent)
        self._state = state
        return state

    def _count(self, number: int, kind: Entry, sent: str) -> None:
        """Keep track of which steps count, and of the ids under which they were sent."""
        self._revision += 1
        if sent:
            self._sent.add(sent)
        if kind == "edit":
            self._done.append(number)
            self._undone.clear()
        else:
            source, target = (self._done, self._undone) if kind == "undo" else (self._undone, self._done)
            target.append(source.pop())

    def _steps(self, *, but_last: bool = False) -> Iterator[Step]:
        """Yield the steps that count, in their order."""
        for number in self._done[: -1 if but_last else None]:
            yield self._step(number)

    def _step(self, number: int) -> Any:
        ((text,),) = self._base.execute("SELECT step FROM log WHERE number = ?", (number,)).fetchall()
        return json.loads(text)
