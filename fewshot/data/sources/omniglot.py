"""Omniglot: handwritten characters of fifty alphabets (Lake, Salakhutdinov, Tenenbaum 2015).

A region is an alphabet, a class is `<Alphabet>/characterNN`, a source is a drawer. Ink is 1, paper 0.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from fewshot.data.bands import StoredBand
from fewshot.data.images import Archive, DamageLog, Decoded, OnDamaged, Pixels, decode_image, find_archives, shrink
from fewshot.data.region import ArrayStore, Region, RegionSet, RotatedStore, Task, turned
from fewshot.data.source import Source
from fewshot.errors import DamagedDataError, DataNotFoundError

_DRAWING = re.compile(r"(?:.*/)?([^/]+)/(character\d+)/([^/]+?_(\d+)\.png)$")
_CHARACTER = re.compile(r"(?:.*/)?([^/]+)/(character\d+)/$")
_RUN_IMAGE = re.compile(r"(?:.*/)?(run\d+)/(training/class\d+|test/item\d+)\.png$")
_RUN_LABELS = re.compile(r"(?:.*/)?(run\d+)/class_labels\.txt$")


@dataclass(frozen=True)
class Omniglot(Source):
    """The official zips or folders, or the zip of the one-shot runs.

    Attributes:
        size: Pixels of an image's side.
        rotations: Take each class's quarter turns as further classes.
    """

    name: ClassVar[str] = "omniglot"

    size: int = 28
    rotations: bool = False

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the alphabets, or the runs."""
        if len(paths) == 1 and "all_runs" in paths[0].name:
            return read_runs(paths[0], size=self.size)
        return read_omniglot(paths, size=self.size, on_damaged=self.on_damaged)

    def after_split(self, part: RegionSet) -> RegionSet:
        """Add the quarter turns where they are wanted."""
        return with_rotations(part) if self.rotations else part

    def describe_bands(self, regions: RegionSet) -> tuple[StoredBand, ...]:
        """Return the one band: pictures hold black ink on white, and the network reads ink."""
        stored = "uint8, 0 black ink, 255 white paper"
        return (StoredBand("grey", scale=-1 / 255, offset=1.0, unit="1 ink, 0 paper", stored=stored),)


@dataclass(frozen=True)
class OmniglotTfds(Omniglot):
    """Omniglot from TensorFlow Datasets; the path is its folder."""

    name: ClassVar[str] = "omniglot_tfds"
    reads_files: ClassVar[bool] = False

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the alphabets."""
        return read_omniglot_tfds(paths[0] if paths else None, size=self.size)


def read_omniglot(paths: Sequence[Path], *, size: int = 28, on_damaged: OnDamaged = "raise") -> RegionSet:
    """Read official Omniglot archives, or folders they were extracted to.

    Drawings are area-averaged from 105x105 to `size` and inverted, so that ink is 1. A drawing that several
    archives hold (Greek and Latin are in both small background sets) is read once.

    Args:
        paths: Zips, extracted folders, or folders of `images_*.zip`.
        size: Side of the images, in pixels.
        on_damaged: What to do with damaged drawings and empty characters.

    Returns:
        One region an alphabet, images [size, size, 1]; no fixed tasks.

    Raises:
        DataNotFoundError: if a path does not exist or holds no drawing.
        DamagedDataError: if a drawing is damaged or of another size, or a character is empty, unless skipped.
    """
    log, decoded = DamageLog(on_damaged), Decoded()
    drawers: dict[str, int] = {}
    for path in find_archives(paths, "images_*.zip"):
        with Archive(path) as archive:
            named, empty = _drawings(archive, seen=drawers)
            for character in empty:
                log.report(f"{path}: character {character} has no drawing.")
            decoded.add_all(archive, named, functools.partial(_decode_ink, size=size), log)
    if not drawers:
        places = ", ".join(str(path) for path in paths)
        raise DataNotFoundError(
            f"no drawing <Alphabet>/characterNN/<file>.png in {places}. For the one-shot runs use read_runs."
        )
    names, pixels = decoded.stack(log)
    classes = [name.rpartition("/")[0] for name in names]
    store = ArrayStore(names, pixels)
    return _by_alphabet(store, classes, [drawers[name] for name in names], log.skipped)


def _drawings(archive: Archive, *, seen: dict[str, int]) -> tuple[list[tuple[str, str]], list[str]]:
    """List (member, name) of the drawings not yet `seen`, and the characters without any; fill `seen`."""
    # A folder may itself be an alphabet or a character's parent: its own name belongs to the layout.
    prefix = f"{archive.stem}/"
    named, characters, filled = [], set(), set()
    for member in archive.members():
        if drawing := _DRAWING.match(prefix + member):
            alphabet, character, file, drawer = drawing.groups()
            name = f"{alphabet}/{character}/{file}"
            filled.add(f"{alphabet}/{character}")
            if name not in seen:
                seen[name] = int(drawer)
                named.append((member, name))
        elif folder := _CHARACTER.match(prefix + member):
            characters.add("/".join(folder.groups()))
    return named, sorted(characters - filled)


def _decode_ink(data: bytes, member: str, *, size: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode one drawing to [size, size, 1] uint8 with ink at 255."""
    gray, native = decode_image(data, size, "L")
    return 255 - gray, native


def _by_alphabet(
    store: ArrayStore, classes: Sequence[str], drawers: Sequence[int], skipped: Iterable[str]
) -> RegionSet:
    """Group images by the alphabet that begins their class name."""
    order = sorted(set(classes))
    alphabets = np.array([name.partition("/")[0] for name in classes])
    class_of, source_of = np.array(classes), np.array(drawers, np.int64)
    regions = []
    for alphabet in sorted(set(alphabets.tolist())):
        images = np.flatnonzero(alphabets == alphabet)
        class_names, labels = np.unique(class_of[images], return_inverse=True)
        names = tuple(class_names.tolist())
        regions.append(Region(alphabet, names, images, labels.astype(np.int64), source_of[images]))
    return RegionSet("omniglot", store, tuple(regions), tuple(order), skipped=tuple(skipped), manifest="omniglot")


def with_rotations(region_set: RegionSet) -> RegionSet:
    """Add every character's quarter turns as new classes (Santoro et al. 2016).

    Each region returns four times: as it is, and turned as a whole, with classes `<class>@90`, `@180` and `@270`.
    A task within one alphabet is therefore turned as a whole, and one across alphabets meets all the
    classes. Split first, or by `split_characters` and `split_regions`, which keep turns together.

    Raises:
        ShapeError: if the images are not square.
    """
    count = len(region_set.store.names)
    regions = tuple(
        replace(
            region,
            name=turned(region.name, turn),
            class_names=tuple(turned(name, turn) for name in region.class_names),
            images=region.images + turn * count,
        )
        for turn in range(4)
        for region in region_set.regions
    )
    classes = tuple(turned(name, turn) for turn in range(4) for name in region_set.classes)
    return replace(region_set, store=RotatedStore(region_set.store), regions=regions, classes=classes)


def read_omniglot_tfds(
    data_dir: Path | None = None, *, splits: Sequence[str] = ("train", "test"), size: int = 28
) -> RegionSet:
    """Read Omniglot from TensorFlow Datasets.

    Args:
        data_dir: Where TFDS keeps its data; its default if None.
        splits: Of "train" (background), "test" (evaluation), "small1" and "small2".
        size: Side of the images, in pixels.

    Returns:
        As `read_omniglot`, except that drawers are unknown (TFDS does not keep them): all sources are -1.

    Raises:
        DataNotFoundError: if TensorFlow Datasets is not installed.
    """
    try:
        import tensorflow_datasets as tfds  # noqa: PLC0415  slow to import, and needed only here
    except ImportError as error:
        raise DataNotFoundError("reading Omniglot from TFDS needs it: pip install tensorflow-datasets") from error
    names: list[str] = []
    classes: list[str] = []
    pixels: list[Pixels] = []
    for split in splits:
        examples, info = tfds.load(
            "omniglot", split=split, data_dir=None if data_dir is None else str(data_dir), with_info=True
        )
        alphabets = info.features["alphabet"].int2str
        for number, example in enumerate(tfds.as_numpy(examples)):
            character = int(example["alphabet_char_id"]) + 1  # the archives count from 1
            classes.append(f"{alphabets(example['alphabet'])}/character{character:02d}")
            names.append(f"{classes[-1]}/tfds_{split}_{number:05d}")
            # [105, 105, 3], black ink on white -> [size, size, 1], ink at 255
            pixels.append(255 - shrink(np.ascontiguousarray(example["image"][..., 0]), size))
    if not names:
        raise DataNotFoundError(f"TFDS has no omniglot examples in {', '.join(splits)}")
    return _by_alphabet(ArrayStore(names, np.stack(pixels)), classes, [-1] * len(names), ())


def read_runs(path: Path, *, size: int = 28) -> RegionSet:
    """Read the 20 official one-shot classification runs (`all_runs.zip`, or the folder).

    Args:
        path: The archive; `runNN/{training/classCC,test/itemII}.png` and `runNN/class_labels.txt`.
        size: Side of the images, in pixels.

    Returns:
        One region and one fixed 20-way 1-shot task a run; the support set is `training`, the queries are `test`.

    Raises:
        DataNotFoundError: if there is no run in `path`.
        DamagedDataError: if an image is damaged, or a run's label list does not fit its images.
    """
    log, decoded = DamageLog("raise"), Decoded()
    with Archive(Path(path)) as archive:
        named, lists = [], {}
        for member in archive.members():
            if image := _RUN_IMAGE.match(member):
                named.append((member, f"{image[1]}/{image[2]}.png"))
            elif labels := _RUN_LABELS.match(member):
                lists[labels[1]] = archive.read_text(member)
        if not lists:
            raise DataNotFoundError(f"{path} has no runNN/class_labels.txt; expected the layout of all_runs.zip")
        decoded.add_all(archive, named, functools.partial(_decode_ink, size=size), log)
    names, pixels = decoded.stack(log)
    index = {name: i for i, name in enumerate(names)}
    regions, tasks = [], []
    for run in sorted(lists):
        region, task = _run(run, lists[run], index, Path(path))
        regions.append(region)
        tasks.append(task)
    classes = tuple(name for region in regions for name in region.class_names)
    store = ArrayStore(names, pixels)
    return RegionSet("omniglot-runs", store, tuple(regions), classes, tuple(tasks), manifest="omniglot")


def _run(run: str, text: str, index: dict[str, int], path: Path) -> tuple[Region, Task]:
    """Build the region and the task of one run from the text of its `class_labels.txt`."""
    support_names = sorted(name for name in index if name.startswith(f"{run}/training/"))
    label_of = {name: label for label, name in enumerate(support_names)}
    query_names, query_labels = [], []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        pair = ["/".join(word.split("/")[-3:]) for word in line.split()]
        if len(pair) != 2 or pair[0] not in index or pair[1] not in label_of:
            raise DamagedDataError(
                f"{path}: {run}/class_labels.txt line {number} reads {line!r}, expected"
                f" '{run}/test/itemII.png {run}/training/classCC.png' with both images in the archive"
            )
        query_names.append(pair[0])
        query_labels.append(label_of[pair[1]])
    if not query_names:
        raise DamagedDataError(f"{path}: {run}/class_labels.txt is empty, expected one line a test item")
    classes = tuple(name.replace("/training", "").removesuffix(".png") for name in support_names)
    support = np.array([index[name] for name in support_names], np.int64)
    query = np.array([index[name] for name in query_names], np.int64)
    support_y, query_y = np.arange(len(support), dtype=np.int32), np.array(query_labels, np.int32)
    images, labels = np.concatenate([support, query]), np.concatenate([support_y, query_y]).astype(np.int64)
    region = Region(run, classes, images, labels, np.full(len(images), -1, np.int64))
    return region, Task(run, classes, support, support_y, query, query_y, name=run)
