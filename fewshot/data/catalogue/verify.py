"""Is a data set on disk what its manifest says? Names every missing, truncated or altered file.

Files with published sizes and checksums are held against them. Where the manifest knows only how the files lie,
the names and the parts of every sample are checked, and on demand every image is read. What could not be
checked is said too.
"""

import hashlib
import os
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from fewshot.data.catalogue.manifest import NOT_PUBLISHED, File, FileLayout, Manifest
from fewshot.data.images import decode_image, find_archives
from fewshot.data.sources.task_archives import read_task_archives
from fewshot.errors import DataNotFoundError, FewshotError
from fewshot.geo.rasters import read_image

CHUNK = 1 << 20
"""Bytes read at a time."""

_BATCH = 1024  # images waiting for a thread: half a million at once would not fit
_RASTERS = {".tif", ".tiff"}
_READ_ERRORS = (FewshotError, OSError, SyntaxError, ValueError, EOFError)


@dataclass(frozen=True)
class FileProblem:
    """One thing that is not as the manifest says.

    Attributes:
        path: The file, folder or sample, relative to the data set's folder.
        kind: What is wrong with it.
        detail: What was expected and what was received.
    """

    path: str
    kind: Literal["missing", "truncated", "altered", "unreadable", "misnamed"]
    detail: str

    def __str__(self) -> str:
        """Return the problem in one line."""
        return f"{self.path}: {self.kind}: {self.detail}"


@dataclass
class Verification:
    """What was found.

    Attributes:
        problems: What is wrong; empty if nothing is.
        checked: What was checked, in words.
        unchecked: What was not, in words.
        regions: Samples of every region that is there.
    """

    problems: list[FileProblem] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    regions: dict[str, int] = field(default_factory=dict)


def verify(manifest: Manifest, folder: Path, *, only: Sequence[str] = (), deep: bool = False) -> Verification:
    """Hold a data set on disk against its manifest.

    Args:
        manifest: What should be there.
        folder: Where it is.
        only: Patterns of the files to check, and nothing else; all of it for none.
        deep: Read every image of the layout too.

    Raises:
        DataNotFoundError: if the folder does not exist, or a pattern of `only` matches no file.
    """
    if not folder.is_dir():
        raise DataNotFoundError(
            f"there is no folder {folder}. Name the folder of {manifest.title}; `fewshot data show {manifest.name}`"
            " says how its files lie."
        )
    found = Verification()
    with work_progress(DownloadColumn()) as progress:
        _verify_files(manifest.choose(only), folder, found, progress)
    with work_progress(MofNCompleteColumn()) as progress:
        if not only and manifest.layout.pattern:
            _verify_layout(manifest, folder, found, progress, deep=deep)
        elif not only and manifest.layout.reader == "task_archives":
            _verify_tasks(manifest, folder, found, progress)
    return found


def work_progress(*columns: ProgressColumn) -> Progress:
    """Return progress bars on standard error, silent where that is no terminal."""
    console = Console(stderr=True)
    shown = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*shown, console=console, disable=not console.is_terminal)


def check_file(path: Path, file: File, advance: Callable[[int], None] = lambda _: None) -> FileProblem | None:
    """Hold one file against its published size and checksum.

    Args:
        path: Where the file is.
        file: What is published of it.
        advance: Called with the number of bytes read, again and again.

    Returns:
        What is wrong, or None.

    Raises:
        DataNotFoundError: if the file cannot be read.
    """
    size = path.stat().st_size
    wrong = []
    if file.size not in (None, size):
        wrong.append(f"expected {file.size:,} bytes, received {size:,}")
    if file.digest:
        algorithm, expected = file.digest
        received = _digest(path, algorithm, advance)
        if received != expected:
            wrong.append(f"expected {algorithm} {expected}, received {received}")
    if not wrong:
        return None
    short = file.size is not None and size < file.size
    if file.size is None and file.path.endswith(".zip") and not zipfile.is_zipfile(path):
        short = True  # a zip's directory is at its end
        wrong.append(f"its {size:,} bytes are not a whole zip archive")
    return FileProblem(file.path, "truncated" if short else "altered", "; ".join(wrong))


def _digest(path: Path, algorithm: str, advance: Callable[[int], None]) -> str:
    """Return a file's checksum."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as content:
            while chunk := content.read(CHUNK):
                state.update(chunk)
                advance(len(chunk))
    except OSError as error:
        raise DataNotFoundError(f"{path} cannot be read: {error.strerror}.") from error
    return state.hexdigest()


def is_unpacked(file: File, folder: Path) -> bool:
    """Whether what an archive holds is in the folder already."""
    return bool(file.unpacks) and any(folder.glob(file.unpacks))


def has_samples(manifest: Manifest, folder: Path) -> bool:
    """Whether there is anything of the manifest's layout in the folder."""
    if manifest.layout.reader == "task_archives":
        return any(folder.glob("*.zip")) or any(folder.rglob("meta.txt"))
    return any(fields for _, fields in _walk(manifest.layout, folder))


def _verify_files(files: Sequence[File], folder: Path, found: Verification, progress: Progress) -> None:
    """Check the published files themselves."""
    present = [folder / file.path for file in files if file.digest and (folder / file.path).is_file()]
    bar = progress.add_task("hashed", total=sum(path.stat().st_size for path in present), visible=bool(present))
    counts: Counter[str] = Counter()
    for file in files:
        path = folder / file.path
        if path.is_file():
            problem = check_file(path, file, lambda read: progress.advance(bar, read))
            how = " and ".join(filter(None, ["size" if file.size else "", file.digest[0] if file.digest else ""]))
            counts[how] += 1
        elif is_unpacked(file, folder):
            problem = None
            found.unchecked.append(f"{file.path}: it was unpacked; checksums are of the archive, not of what it holds")
        else:
            unfinished = path.with_name(path.name + ".part").exists()
            hint = "; an unfinished download is here, `fewshot data fetch` goes on with it" if unfinished else ""
            problem = FileProblem(file.path, "missing", f"expected in {folder}{hint}")
        if problem:
            found.problems.append(problem)
    for how, number in counts.items():
        if how:
            found.checked.append(f"{number} of {len(files)} files by {how}")
        else:
            found.unchecked.append(f"{number} of {len(files)} files: their sizes and checksums are {NOT_PUBLISHED}")


@dataclass
class _Samples:
    """What lies in a layout: for every region, the parts of every sample; and all files, for reading them."""

    parts: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    files: list[tuple[Path, str]] = field(default_factory=list)
    places: set[str] = field(default_factory=set)


def _verify_layout(manifest: Manifest, folder: Path, found: Verification, progress: Progress, *, deep: bool) -> None:
    """Check the names, and that every sample has all its parts."""
    layout, samples = manifest.layout, _Samples()
    bar = progress.add_task("files listed", total=None)
    for path, fields in _walk(layout, folder):
        progress.advance(bar)
        name = path.relative_to(folder).as_posix()
        wrong = _misnamed(manifest, fields) if fields else f"expected {layout.pattern}"
        if wrong or fields is None:
            found.problems.append(FileProblem(name, "misnamed", wrong))
            continue
        try:
            if path.stat().st_size == 0:
                found.problems.append(FileProblem(name, "truncated", "the file is empty"))
        except OSError as error:
            found.problems.append(FileProblem(name, "unreadable", str(error.strerror)))
        region = "_".join(fields[key] for key in layout.region)
        samples.parts[region][layout.path(**{**fields, "part": "{part}"})].add(fields.get("part", ""))
        samples.files.append((path, fields.get("part", "")))
        samples.places.add(fields[layout.region[-1]])
    _count_samples(manifest, samples, found)
    if deep:
        _read_all(manifest, folder, samples.files, found, progress)
    elif samples.files:
        found.unchecked.append(f"the pixels of {len(samples.files):,} files; add --deep to read every one")


def _misnamed(manifest: Manifest, fields: Mapping[str, str]) -> str:
    """Say what is wrong with a name that fits the pattern, "" if nothing is."""
    if not manifest.seeds or "season" not in fields:
        return ""
    expected = manifest.seeds.get(fields["season"])
    if expected is None:
        return f"season {fields['season']!r}, expected one of {', '.join(manifest.seeds)}"
    return "" if fields["seed"] == str(expected) else f"seed {fields['seed']}, expected {expected} for its season"


def _count_samples(manifest: Manifest, samples: _Samples, found: Verification) -> None:
    """Report samples that lack a part, and how many there are in all."""
    wanted = manifest.layout.parts
    for region in sorted(samples.parts):
        whole = 0
        for sample, parts in sorted(samples.parts[region].items()):
            lacking = [sample.replace("{part}", part) for part in wanted if part not in parts]
            whole += not lacking
            other = sample.replace("{part}", sorted(parts)[0])
            found.problems += [FileProblem(path, "missing", f"{other} needs it") for path in lacking]
        found.regions[region] = whole
    total = sum(found.regions.values())
    found.checked.append(f"{total:,} whole samples ({' + '.join(wanted)}) in {len(found.regions)} regions, by name")
    if not samples.parts:
        found.problems.append(FileProblem(".", "missing", f"no file {manifest.layout.pattern}"))
    elif manifest.samples not in (None, total) and not any(problem.kind == "missing" for problem in found.problems):
        lack = f"expected {manifest.samples:,} whole samples in all, received {total:,}"
        found.problems.append(FileProblem(".", "missing" if total < manifest.samples else "altered", lack))
    known = {place for part in manifest.splits.values() for place in part}
    strangers = sorted(samples.places - known) if known else []
    if strangers:
        found.unchecked.append(f"region ids {', '.join(strangers)}: no part of the published split names them")


def _walk(layout: FileLayout, folder: Path) -> Iterator[tuple[Path, dict[str, str] | None]]:
    """List the files of a layout with their fields, None where the name does not fit.

    Only top folders that the pattern can begin with are entered: what else lies beside them is nobody's business.
    """
    top, _, rest = layout.pattern.partition("/")
    begins = top.partition("{")[0]
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not rest or not entry.is_dir() or not entry.name.startswith(begins):
            continue
        for parent, folders, names in os.walk(entry.path):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if path.suffix.lower() in layout.suffixes and not name.startswith("."):
                    yield path, layout.match(path.relative_to(folder).as_posix())


def _read_all(
    manifest: Manifest, folder: Path, files: Sequence[tuple[Path, str]], found: Verification, progress: Progress
) -> None:
    """Read every image, and check its size and number of bands."""
    layout = manifest.layout
    bands = Counter(band.part for band in manifest.bands)
    if layout.label_bands:
        bands[layout.label_part] = len(layout.label_bands)

    def read(file: tuple[Path, str]) -> FileProblem | None:
        path, part = file
        name = path.relative_to(folder).as_posix()
        try:
            if path.suffix.lower() in _RASTERS:
                pixels, _ = read_image(path)
            else:
                pixels, _ = decode_image(path.read_bytes(), None)
        except _READ_ERRORS as error:
            known = " (known to be damaged as published)" if path.stem in manifest.damaged else ""
            return FileProblem(name, "unreadable", f"{str(error) or type(error).__name__}{known}")
        side = layout.image_size or pixels.shape[0]
        expected, received = (side, side, bands[part] or pixels.shape[2]), pixels.shape
        if received == expected:
            return None
        return FileProblem(
            name, "altered", f"expected [rows, columns, bands] {list(expected)}, received {list(received)}"
        )

    bar = progress.add_task("images read", total=len(files))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(files), _BATCH):
            for problem in pool.map(read, files[start : start + _BATCH]):
                progress.advance(bar)
                if problem:
                    found.problems.append(problem)
    found.checked.append(f"the pixels of {len(files):,} files")


def _verify_tasks(manifest: Manifest, folder: Path, found: Verification, progress: Progress) -> None:
    """Read every image of archives of fixed tasks, and check that each task is whole."""
    archives = find_archives([folder])
    bar = progress.add_task("archives read", total=len(archives))
    images = 0
    for path in archives:
        name = path.relative_to(folder).as_posix()
        try:
            read = read_task_archives([path], size=1, on_damaged="skip")
        except FewshotError as error:
            found.problems.append(FileProblem(name, "unreadable", str(error)))
            continue
        finally:
            progress.advance(bar)
        found.problems += [FileProblem(name, "unreadable", line) for line in read.skipped]
        images += len(read.store.names)
        for task in read.fixed_tasks:
            found.regions[task.region] = found.regions.get(task.region, 0) + 1
    tasks = sum(found.regions.values())
    published = f" of the {manifest.samples:,} published ones" if manifest.samples else ""
    found.checked.append(f"{tasks:,} whole tasks{published} in {len(found.regions)} regions, {images:,} images read")
    found.unchecked.append(f"whether the images are the published ones: their checksums are {NOT_PUBLISHED}")
