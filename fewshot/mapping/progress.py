"""How far a map is that another process makes, or made until it was stopped."""

import json
from pathlib import Path

from fewshot.geo.windows import WindowGrid
from fewshot.mapping.predict.checkpoint import Checkpoint
from fewshot.mapping.predict.layout import WindowLayout


def map_progress(to: Path) -> tuple[int, int] | None:
    """Return how many blocks of a map are finished, and how many there are; None before the first, and at the end.

    Args:
        to: The map, as its request names it.
    """
    checkpoint = Checkpoint(to)
    try:
        windows = json.loads((checkpoint.path / "job.json").read_text(encoding="utf-8"))["windows"]
    except (OSError, ValueError, KeyError):  # not begun, or gone while this looks
        return None
    grid = WindowGrid(windows["rows"], windows["columns"], windows["window"], windows["overlap"])
    named = {name: windows[name] for name in ("picture", "before", "per_group", "stride")}
    return len(checkpoint.finished()), len(WindowLayout(grid, per_pixel=True, **named))


def is_begun(to: Path) -> bool:
    """Whether a map has finished blocks to go on from."""
    checkpoint = Checkpoint(to)
    return checkpoint.path.is_dir() and bool(checkpoint.finished())


def kept_comparison(to: Path) -> str | None:
    """Return how methods compared for a map, as JSON, once that is known: of a finished map, or one in the making."""
    report, checkpoint = to.with_suffix(".json"), Checkpoint(to)
    try:
        if to.exists():
            found = json.loads(report.read_text(encoding="utf-8")).get("compare")
            return json.dumps(found) if found else None
        return checkpoint.compared.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
