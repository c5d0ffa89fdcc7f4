"""The prepared form of a tree of patches: an index of the windows of each region, and where asked for their records.

    <folder>/
    ├── prepared.json               what it was made of; written last, so that what it names is whole
    ├── <region>.npz                index: patch, square, classes and block of every window
    └── <region>.arrayrecord        the pixels and labels of every window, uncompressed by region

Each region is written whole under another name first: a preparation that was stopped goes on with the region it was at.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import DamagedDataError, RecipeError
from fewshot.files import write_whole

FORMAT, VERSION = "fewshot-prepared", 1
HEAD = "prepared.json"
PREPARED = "prepared-{window}"
"""Folder in a tree that a preparation for windows of this size is looked for in."""


@dataclass(frozen=True)
class RegionFolder:
    """Where one region lies.

    Attributes:
        name: `<season>_<place>`.
        place: The region id, whatever the season.
        folder: Of the season, such as ROIs1158_spring, relative to the tree.
    """

    name: str
    place: str
    folder: str

    def file(self, root: Path, part: str, patch: int) -> Path:
        """Return the file of one part of a patch.

        Args:
            root: The tree.
            part: Such as s1, s2 or lc.
            patch: Its number.
        """
        return root / self.folder / f"{part}_{self.place}" / f"{self.folder}_{part}_{self.place}_p{patch}.tif"

    def patch_numbers(self, root: Path, part: str) -> list[int]:
        """List the numbers of the patches that one part of the region has."""
        named = re.compile(rf"{self.folder}_{part}_{re.escape(self.place)}_p(\d+)\.tif$")
        inside = (root / self.folder / f"{part}_{self.place}").glob("*.tif")
        return sorted(int(found[1]) for found in (named.match(path.name) for path in inside) if found)


@dataclass(frozen=True, eq=False)
class RegionIndex(RegionFolder):
    """The windows of one region.

    Attributes:
        patches: [n] int32, number of the patch that each window is cut from.
        squares: [n] int16, which window of the patch, row by row.
        counts: [n, classes] uint32, labelled pixels of each class.
        blocks: [n] int32, the block of ground that each window lies in; -1 in the gaps between blocks.
    """

    patches: npt.NDArray[np.int32]
    squares: npt.NDArray[np.int16]
    counts: npt.NDArray[np.uint32]
    blocks: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.patches)

    def save(self, path: Path) -> None:
        """Write the index; it appears under its name when it is whole."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                np.savez(file, **values)

        write_whole(path, write)

    @classmethod
    def load(cls, path: Path) -> RegionIndex:
        """Read an index.

        Raises:
            DamagedDataError: if it is not one.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls(**{f.name: _plain(found[f.name]) for f in fields(cls)})
        except (OSError, KeyError, ValueError) as error:
            raise DamagedDataError(f"{path} is not the index of a region: {error}. Prepare the data again.") from error


def _plain(value: npt.NDArray[Any]) -> Any:
    return str(value) if value.ndim == 0 else value


@dataclass(frozen=True, eq=False)
class Prepared:
    """An opened index.

    Attributes:
        folder: Where the records are.
        tree: Where the GeoTIFFs are, or were.
        window: Rows and columns of a window.
        regions: In a fixed order.
        skipped: What was left out, in words.
        records: Whether the pixels were written to records.
        simulated: Whether the tree was a simulated one.
    """

    folder: Path
    tree: Path
    window: int
    regions: tuple[RegionIndex, ...]
    skipped: tuple[str, ...] = ()
    records: bool = False
    simulated: bool = False

    def __len__(self) -> int:
        """Return the number of windows."""
        return int(self._starts[-1])

    def find(self, number: int) -> tuple[RegionIndex, int]:
        """Return the region that holds a window of this number, and the window's number in it."""
        region = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self.regions[region], number - int(self._starts[region])

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """Number of the first window of each region, and of the one after the last [regions + 1]."""
        return np.cumsum([0, *(len(index) for index in self.regions)])

    @staticmethod
    def is_one(folder: Path) -> bool:
        """Whether a folder is a finished preparation."""
        return (folder / HEAD).is_file()

    @classmethod
    def open(cls, folder: Path, window: int) -> Prepared:
        """Open a finished preparation.

        Raises:
            DamagedDataError: if it is not one, or of another version.
            RecipeError: if it was made for other windows.
        """
        try:
            head = json.loads((folder / HEAD).read_text("utf-8"))
            found = (head["format"], head["version"])
        except (OSError, ValueError, KeyError) as error:
            raise DamagedDataError(f"{folder / HEAD} cannot be read: {error}. Prepare the data again.") from error
        if found != (FORMAT, VERSION):
            raise DamagedDataError(f"{folder} is {found[0]} version {found[1]}, expected {FORMAT} version {VERSION}.")
        if head["window"] != window:
            raise RecipeError(
                f"{folder} was prepared for windows of {head['window']} pixels; data.window is {window}. Use "
                f"--set data.window={head['window']}, or prepare the data again with --window {window}."
            )
        regions = tuple(RegionIndex.load(folder / f"{name}.npz") for name in head["regions"])
        tree = Path(os.path.normpath(folder / head["tree"]))
        simulated = bool(head.get("simulated", False))  # not kept from the first
        return cls(folder, tree, window, regions, tuple(head["skipped"]), bool(head["records"]), simulated)

    def finish(self) -> None:
        """Write the head, which makes the folder a finished preparation."""
        head = {
            **{"format": FORMAT, "version": VERSION, "window": self.window, "records": self.records},
            **{"tree": os.path.relpath(self.tree, self.folder), "regions": [index.name for index in self.regions]},
            **{"skipped": list(self.skipped), "simulated": self.simulated},
        }
        write_whole(self.folder / HEAD, lambda path: path.write_text(json.dumps(head, indent=1) + "\n", "utf-8"))


def record_type(window: int, parts: dict[str, tuple[str, int]]) -> np.dtype:
    """Return how one window is stored: of every part, its number of bands in its NumPy type."""
    return np.dtype([(name, kind, (window, window, bands)) for name, (kind, bands) in parts.items()])


def write_records(path: Path, windows: Any) -> None:
    """Write one record a window; `windows` gives structured scalars of `record_type`, one after another."""
    from array_record.python.array_record_module import ArrayRecordWriter

    def write(unfinished: Path) -> None:
        # One record a group: windows are read in random order.
        writer = ArrayRecordWriter(str(unfinished), "group_size:1,zstd:1")
        try:
            for window in windows:
                writer.write(window.tobytes())
        finally:
            writer.close()

    write_whole(path, write)


class Records:
    """Reads the records of several regions by number, in threads of their own."""

    def __init__(self, paths: list[Path], kind: np.dtype) -> None:
        """Open the files, whose records follow one another."""
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._source = ArrayRecordDataSource([str(path) for path in paths])
        self._kind = kind

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the records `numbers` [n] as a structured array [n]."""
        found = self._source.__getitems__(numbers.tolist())
        return np.frombuffer(b"".join(found), self._kind)
