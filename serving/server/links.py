"""Links in a folder of models that others may write to: those that lead out of it are not followed."""

from __future__ import annotations

import os
from pathlib import Path

from fewshot.exported.status import StatusError


def link_out(base: Path, path: Path) -> Path | None:
    """Return what of a file or folder, itself or something in it, lies outside of a base path, by way of a link.

    Args:
        base: Where models are. What is in the home of the server's user is theirs, links too: then nothing is outside.
        path: In the base path.

    Raises:
        OSError: if the folder cannot be read.
    """
    root = _target(base)
    if any(root.is_relative_to(home) for home in _homes()):
        return None
    waiting, seen = [path], set()
    while waiting:
        here = waiting.pop()
        target = _target(here)
        if not target.is_relative_to(root):
            return here
        if target not in seen and target.is_dir():
            seen.add(target)
            waiting.extend(target.iterdir())
    return None


def require_inside(base: Path, path: Path) -> None:
    """Refuse a file or folder with a link that leads out of a base path; see `link_out`.

    Raises:
        OSError: if the folder cannot be read.
        StatusError: PERMISSION_DENIED.
    """
    if (found := link_out(base, path)) is not None:
        raise StatusError(
            "PERMISSION_DENIED",
            f"{found} leads out of {base}, and links out of a folder of models are followed in the home of the "
            "server's user alone. Put the files themselves there, or serve the folder that they are in.",
        )


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))  # not by `resolve`, for which a circle of links is an error


def _homes() -> list[Path]:
    """Return the home of the server's user, if there is one that is not the whole machine."""
    try:
        home = _target(Path.home())
    except RuntimeError:
        return []
    return [] if home == Path(home.anchor) else [home]
