"""Which windows a SEN12MS tree has, of which classes, and where they lie: from its land-cover files alone."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.data.catalogue.manifest import Manifest, read_manifest
from fewshot.data.images import DamageLog, OnDamaged
from fewshot.data.sources.prepared import Prepared, RegionFolder, RegionIndex, record_type, write_records
from fewshot.errors import DataNotFoundError, RasterError
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster

IMAGE = 256
"""Rows and columns of a patch."""
BLOCK, GAP = 4, 1
"""Windows along the side of a block of ground, and between two: what touches is never on both sides of a task."""
THREADS = 4
PARTS = {"s1": ("<f4", 2), "s2": ("<u2", 13), "lc": ("u1", 1)}
"""What a record holds of each part: type and bands."""
_SEASON = re.compile(r"ROIs(\d+)_([a-z]+)$")

Progress = Callable[[int, int], None]


def find_regions(root: Path) -> tuple[RegionFolder, ...]:
    """List the regions of a SEN12MS tree from its folders' names alone.

    Raises:
        DataNotFoundError: if there is none, or two folders claim one region.
    """
    found: dict[str, RegionFolder] = {}
    for season in sorted(root.glob("ROIs*_*")):
        named = _SEASON.match(season.name)
        for folder in sorted(season.glob("lc_*")) if named else ():
            place = folder.name.removeprefix("lc_")
            region = RegionFolder(f"{named[2] if named else ''}_{place}", place, season.name)
            if region.name in found:
                raise DataNotFoundError(
                    f"{root} holds region {region.name} twice, in {found[region.name].folder} and {season.name}; each "
                    "region has one folder. Remove one of them."
                )
            found[region.name] = region
    if not found:
        raise DataNotFoundError(
            f"{root} is not a SEN12MS folder: expected ROIs<seed>_<season>/lc_<region>/ in it, with s1_<region> and "
            "s2_<region> beside. `fewshot data show sen12ms` says how to get it, and `fewshot data simulate` makes a "
            "simulated one."
        )
    return tuple(found.values())


def prepare(  # noqa: PLR0913  what can be chosen of a preparation
    root: Path,
    to: Path,
    *,
    window: int = 128,
    records: bool = False,
    on_damaged: OnDamaged = "raise",
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Index a SEN12MS tree, region by region; regions done before are kept.

    Args:
        root: The tree.
        to: Folder to write.
        window: Rows and columns of a window.
        records: Write the windows themselves too, so that training opens no GeoTIFF.
        on_damaged: What to do with damaged or incomplete patches.
        progress: Called with how many regions are done, and of how many.

    Raises:
        DataNotFoundError: if the tree has no region.
        DamagedDataError: if a patch cannot be read, unless skipped.
    """
    folders = find_regions(root)
    reader = RasterReader()
    indices: list[RegionIndex] = []
    skipped: list[str] = []
    for done, region in enumerate(folders):
        progress(done, len(folders))
        path, record = to / f"{region.name}.npz", to / f"{region.name}.arrayrecord"
        if path.exists() and (record.exists() or not records):
            index = RegionIndex.load(path)
        else:
            index, left_out = index_region(root, region, window, on_damaged=on_damaged)
            skipped += left_out
            if records:
                write_records(record, _windows(root, region, index, window, reader))
            index.save(path)
        indices.append(index)
    progress(len(folders), len(folders))
    prepared = Prepared(to, root.resolve(), window, tuple(indices), tuple(skipped), records, is_simulated(root))
    prepared.finish()
    return prepared


def is_simulated(tree: Path) -> bool:
    """Whether a tree's README says that it is simulated."""
    readme = tree / "README.txt"
    return readme.is_file() and readme.read_text("utf-8", errors="replace").startswith("SIMULATED")


def index_region(
    root: Path, region: RegionFolder, window: int, *, on_damaged: OnDamaged = "raise"
) -> tuple[RegionIndex, tuple[str, ...]]:
    """Read the land cover of one region and list its windows.

    Args:
        root: The tree.
        region: Of the tree.
        window: Rows and columns of a window.
        on_damaged: What to do with damaged or incomplete patches.

    Returns:
        The index, and what was left out.

    Raises:
        DamagedDataError: if a patch cannot be read or lacks one of its files, unless skipped.
        ManifestError: if a label raster has an unknown class.
    """
    log = DamageLog(on_damaged)
    manifest = read_manifest("sen12ms")
    patches = _whole_patches(root, region, manifest, log)
    read = partial(_read_patch, root, region, window=window, manifest=manifest, reader=RasterReader())
    counts, places, kept = [], [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for patch, result in zip(patches, pool.map(read, patches), strict=True):
            if isinstance(result, str):
                log.report(result)
            else:
                kept.append(patch)
                counts.append(result[0])
                places.append(result[1])
    squares = (IMAGE // window) ** 2
    classes = len(manifest.class_table.names)
    place = np.concatenate(places) if places else np.zeros([0, 3])
    # Neighbouring patches share ground: a window that several of them hold is taken once, from the first.
    first = np.sort(np.unique(place, axis=0, return_index=True)[1])
    index = RegionIndex(
        name=region.name,
        place=region.place,
        folder=region.folder,
        patches=np.repeat(np.array(kept, np.int32), squares)[first],
        squares=np.tile(np.arange(squares, dtype=np.int16), len(kept))[first],
        counts=(np.concatenate(counts) if counts else np.zeros([0, classes], np.uint32))[first],
        blocks=_blocks(place[first], 10.0 * window),
    )
    return index, tuple(log.skipped)


def _whole_patches(root: Path, region: RegionFolder, manifest: Manifest, log: DamageLog) -> list[int]:
    """List the patches that have all three files and are not known to be damaged."""
    parts = {part: set(region.patch_numbers(root, part)) for part in PARTS}
    for patch in sorted(set.union(*parts.values())):
        lost = [part for part, found in parts.items() if patch not in found]
        if lost:
            missing = region.file(root, lost[0], patch)
            log.report(f"{missing} is missing; patch {patch} of {region.name} needs s1, s2 and lc.")
    whole = sorted(set.intersection(*parts.values()))
    damaged = {region.file(root, part, patch).stem: patch for part in PARTS for patch in whole}
    known = {damaged[name] for name in manifest.damaged if name in damaged}
    return [patch for patch in whole if patch not in known]


def _read_patch(
    root: Path, region: RegionFolder, patch: int, *, window: int, manifest: Manifest, reader: RasterReader
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64]] | str:
    """Count the classes of each window of a patch, and find where each lies; a sentence where it cannot be read."""
    path = region.file(root, "lc", patch)
    try:
        info = describe_raster(path)
        if (info.grid.height, info.grid.width) != (IMAGE, IMAGE):
            return f"{path} is {info.grid.height}x{info.grid.width} pixels, expected {IMAGE}x{IMAGE}."
        pixels, valid = reader.read(path, bands=[1], alpha=False)
    except RasterError as error:
        return f"{error}."
    labels = manifest.class_table.indices(pixels[..., 0], valid=valid[..., 0], where=str(path))
    side = IMAGE // window
    # [256, 256] -> [squares, pixels of a square]
    squares = labels.reshape(side, window, side, window).swapaxes(1, 2).reshape(side * side, -1)
    counts = np.stack([(squares == number).sum(axis=1) for number in range(len(manifest.class_table.names))], axis=1)
    return counts.astype(np.uint32), _corners(info, patch, window)


def _blocks(places: npt.NDArray[np.float64], side: float) -> npt.NDArray[np.int32]:
    """Number the blocks of ground that windows of some `side`, in metres, lie in: [n], -1 between blocks.

    `places` are [n, 3] zone, x and y in metres; zone 0 where x is the number of the patch.
    """
    cells = np.floor_divide(places[:, 1:], side).astype(np.int64)
    between = (cells % (BLOCK + GAP) >= BLOCK).any(axis=1) & (places[:, 0] > 0)
    coarse = np.where(places[:, :1] > 0, cells // (BLOCK + GAP), places[:, 1:2].astype(np.int64))
    keys = np.column_stack([places[:, 0], coarse])
    number = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    return np.where(between, -1, number).astype(np.int32)


def _corners(info: RasterInfo, patch: int, window: int) -> npt.NDArray[np.float64]:
    """Return [squares, 3] zone, x and y in metres of the first pixel of each square of a patch.

    Where nothing says what lies beside a patch, zone is 0, x the patch and y the square: it is a block of its own.
    """
    rows, columns = (window * part for part in np.divmod(np.arange((IMAGE // window) ** 2), IMAGE // window))
    if info.grid.crs is None:
        return np.stack([0.0 * rows, np.full(len(rows), float(patch)), np.arange(len(rows), dtype=float)], axis=1)
    x, y = info.grid.to_map(rows, columns)
    return np.stack([np.full(len(x), float(info.grid.crs.to_epsg() or 0)), np.round(x), np.round(y)], axis=1)


def _windows(
    root: Path, region: RegionFolder, index: RegionIndex, window: int, reader: RasterReader
) -> Iterator[npt.NDArray[Any]]:
    """Yield the record of every window of a region, patch by patch."""
    kind = record_type(window, PARTS)
    side = IMAGE // window
    patch, held = -1, {}
    for number, square in zip(index.patches.tolist(), index.squares.tolist(), strict=True):
        if number != patch:
            patch = number
            held = {part: reader.read(region.file(root, part, patch), alpha=False)[0] for part in PARTS}
        row, column = (window * part for part in divmod(square, side))
        record = np.zeros((), kind)
        for part, (_, bands) in PARTS.items():
            record[part] = held[part][row : row + window, column : column + window, :bands]
        yield record
