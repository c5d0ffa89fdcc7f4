"""The checkpoint of a map, a folder: what is finished so far, so that an interrupted map can be resumed.

.map.tif.work/
├── job.json         what the pixels of the map depend on
├── adapted.npz      the adapted model
├── compare.json     how methods compare, where that was asked for
└── groups/7.npz     a finished group; each file appears under its name only when it is whole
"""

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.errors import ArtifactError, DamagedDataError, FewshotError
from fewshot.files import UNFINISHED, remove_unfinished, write_whole
from fewshot.mapping.predict.parts import Parts


class Checkpoint:
    """The adapted model and the finished groups of a map, on the disk."""

    def __init__(self, to: Path) -> None:
        """Name the folder, beside the map that it is for."""
        self.path = to.with_name(f".{to.name}.work")
        self.adapted, self.compared = self.path / "adapted.npz", self.path / "compare.json"
        self._groups = self.path / "groups"

    def open(self, *, resume: bool) -> None:
        """Make the folder, empty unless a map is resumed.

        Raises:
            ArtifactError: if it cannot be made, or there is nothing to resume.
        """
        if resume and not self.path.is_dir():
            raise ArtifactError(f"there is nothing to resume: {self.path} does not exist. Leave --resume out.")
        try:
            if not resume:
                shutil.rmtree(self.path, ignore_errors=True)
            self._groups.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.path)
        except OSError as error:
            raise ArtifactError(f"{self.path.parent} cannot be written to: {error}. Name another place.") from error

    def claim(self, content: Mapping[str, Any]) -> None:
        """Write what the map depends on, or check that the one that is resumed depends on the same.

        Raises:
            ArtifactError: if it does not.
        """
        content = json.loads(json.dumps(content))
        path = self.path / "job.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in content | before if content.get(key) != before.get(key)]
            if changed:
                said = "; ".join(f"{key} was {before.get(key)}, is {content.get(key)}" for key in changed)
                raise ArtifactError(
                    f"{self.path} is of another map: {said[:600]}. Ask for the same, or leave --resume out."
                )
            return
        write_whole(path, lambda unfinished: unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8"))

    def keep_comparison(self, text: str) -> None:
        """Keep how methods compare, as JSON, so that a resumed map is made by the same one."""
        write_whole(self.compared, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))

    def finished(self) -> set[int]:
        """Return the numbers of the groups that are whole."""
        whole = (path for path in self._groups.glob("*.npz") if not path.name.startswith(UNFINISHED))
        return {int(path.stem) for path in whole if zipfile.is_zipfile(path)}

    def save(self, group: int, parts: Parts) -> None:
        """Keep a finished group."""

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                np.savez(file, **parts)  # type: ignore[arg-type]

        write_whole(self._groups / f"{group}.npz", write)

    def load(self, group: int) -> Parts:
        """Return a finished group; each of its arrays is read when it is asked for.

        Raises:
            DamagedDataError: if its file is not whole.
        """
        path = self._groups / f"{group}.npz"
        try:
            parts: Parts = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DamagedDataError(f"{path} is damaged ({error}); remove it and resume") from None
        return parts

    def remove(self) -> None:
        """Remove the folder: the map is whole."""
        shutil.rmtree(self.path, ignore_errors=True)

    def explain(self, error: FewshotError) -> None:
        """Add to an error's message how to go on where blocks are finished; where none are, nothing is kept."""
        done = len(self.finished())
        if not done:
            self.remove()
        elif "--resume" not in str(error):
            error.args = (f"{str(error).rstrip('. ')}. {done} finished blocks are kept; go on with --resume.",)

    def cannot_write(self, error: OSError) -> ArtifactError:
        """Say what it means that something in the folder could not be written."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(self.path).free >> 20
            return ArtifactError(
                f"the disk of {self.path} is full ({free} MB free): {os.strerror(error.errno)}. Make room and go "
                "on with --resume."
            )
        return ArtifactError(f"{self.path} cannot be written: {error}. Go on with --resume once it can.")
