"""Files that appear under their name only when they are whole: what a kill leaves behind has another name."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNFINISHED = ".partial-"
"""How the name of an unfinished file begins."""


def cache_folder() -> Path:
    """Return the folder of what the program made and can make again: `$FEWSHOT_CACHE`, or `~/.cache/fewshot`."""
    return Path(os.environ.get("FEWSHOT_CACHE") or Path.home() / ".cache" / "fewshot")


def write_whole(path: Path, write: Callable[[Path], Any], *, flush: bool = False) -> None:
    """Let `write` make a file under another name in the same folder, and rename it when it is whole.

    Args:
        path: The file; its folder is made if missing.
        write: Makes the file it is given; that name ends as `path` does.
        flush: Wait until the file is on the disk, so that it outlives a power failure too.

    Raises:
        OSError: if it cannot be written. Nothing is left behind, and a file that was at `path` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        write(unfinished)
        if flush:
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed `write_whole` left in a folder and those below it."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)
