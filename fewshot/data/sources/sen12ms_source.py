"""The source of SEN12MS, and of the simulated Earth in its layout, which it makes where it is asked to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fewshot.data.earth.files import write_earth
from fewshot.data.region import RegionSet
from fewshot.data.source import Source
from fewshot.data.sources.prepared import Prepared
from fewshot.data.sources.sen12ms import PREPARED, Cut, read_sen12ms
from fewshot.data.sources.sen12ms_index import prepare
from fewshot.progress import progress_bar

SIMULATED_PATCHES = 9
"""Patches of each region of the simulated Earth that a recipe makes for itself."""


@dataclass(frozen=True)
class Sen12ms(Cut, Source):
    """SEN12MS in its published layout, or records made of it by `fewshot data prepare`.

    Attributes:
        simulate: Regions of the simulated Earth to train on where no path is named; 0 for none.
    """

    name: ClassVar[str] = "sen12ms"
    one_path: ClassVar[bool] = True

    simulate: int = 0

    def own_paths(self) -> Sequence[Path]:
        """Return the simulated Earth, where that is wanted."""
        return [simulated_earth(self.simulate, window=self.window)] if self.simulate else []

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the tree, or its preparation."""
        return read_sen12ms(paths[0], self, on_damaged=self.on_damaged)


def simulated_earth(regions: int, *, window: int) -> Path:
    """Return a folder with a simulated Earth, prepared; made the first time, which takes about a minute.

    It is kept in `$FEWSHOT_CACHE`, or in `~/.cache/fewshot`.
    """
    cache = Path(os.environ.get("FEWSHOT_CACHE") or Path.home() / ".cache" / "fewshot")
    tree = cache / f"simulated-earth-{regions}x{SIMULATED_PATCHES}"
    made = tree / PREPARED.format(window=window)
    if not Prepared.is_one(made):
        with progress_bar(f"Simulating {regions} regions in {tree}", "files") as show:
            write_earth(tree, regions=regions, patches_per_region=SIMULATED_PATCHES, progress=show)
        with progress_bar(f"Preparing windows of {window} pixels", "regions") as show:
            prepare(tree, made, window=window, records=True, progress=show)
    return tree
