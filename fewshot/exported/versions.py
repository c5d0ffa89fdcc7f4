"""The version folders of a model, `DIR/NAME/N`, as TF Serving reads them: which are there, the newest, the next."""

from __future__ import annotations

from pathlib import Path

from fewshot.errors import ArtifactError, DataNotFoundError

WARM_UP = "tf_serving_warmup_requests"
"""The file in a version's `assets.extra` whose requests servers play before the first of a client."""


def version_folders(base: Path) -> dict[int, Path]:
    """Return the folders of a model whose names are whole numbers, by number: `00000123` is 123.

    Raises:
        OSError: if the base path cannot be read.
    """
    numbered = {}
    for child in sorted(base.iterdir()):
        digits = child.name.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 19 and child.is_dir():
            numbered[int(child.name)] = child
    return numbered


def newest_version(model: Path) -> Path:
    """Return the version folder that a path stands for.

    Raises:
        DataNotFoundError: if there is no such folder.
        ArtifactError: if it holds no version.
    """
    if not model.is_dir():
        raise DataNotFoundError(f"There is no folder {model}. `fewshot export RUN --to DIR` makes DIR/NAME/N.")
    if (model / "saved_model.pb").exists():
        return model
    versions = version_folders(model)
    if not versions:
        raise ArtifactError(f"{model} is neither an exported model nor a folder of its versions 1, 2, ...")
    return versions[max(versions)]


def free_version(model: Path, version: int | None = None) -> Path:
    """Return the folder that a new version gets, the next one if no number is given; the model's need not exist.

    Raises:
        ArtifactError: if the version is taken, or no number for one.
    """
    taken = version_folders(model) if model.is_dir() else {}
    following = max(taken, default=0) + 1
    version = following if version is None else version
    if version < 1:
        raise ArtifactError(f"A version is a whole number of 1 or more; received {version}.")
    if version in taken:
        raise ArtifactError(
            f"{taken[version]} exists, and a served version is never changed. Leave --version out for the next free "
            f"one ({following})."
        )
    return model / str(version)
