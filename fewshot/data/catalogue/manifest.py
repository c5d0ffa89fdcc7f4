"""What is known of each data set: licence, files and checksums, bands, classes, splits, and how the files lie.

    Manifest
    ├── files       File ...        what is published, and how to know it is whole
    ├── bands       StoredBand ...  in the order of the model's bands
    ├── classes     LabelClass ...  in the order of their indices
    ├── layout      FileLayout      how files are named once the archives are unpacked
    ├── splits, holdout, seeds, damaged     region ids and what is known of them
    └── manual, made_by             how to get what no program may download

Manifests are TOML files: `data_manifests/` in the repository, `fewshot/data/manifests/` in the installed package.
`[same_as]` takes a key from another manifest: `bands = "sen12ms"`.
"""

import fnmatch
import functools
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from fewshot.data.bands import StoredBand
from fewshot.errors import DataNotFoundError, ManifestError
from fewshot.geo.landcover import ClassTable, LandClass
from fewshot.tables import make_table, nearest

NotPublished = Literal["not published"]
NOT_PUBLISHED: NotPublished = "not published"

_DIGESTS = {"sha256": 64, "md5": 32}  # hexadecimal digits, the stronger first
_FOLDERS = (Path(__file__).parents[1] / "manifests", Path(__file__).parents[3] / "data_manifests")
_SAME_AS = "same_as"


@dataclass(frozen=True)
class File:
    """One published file.

    Attributes:
        path: Where it belongs, relative to the data set's folder, with forward slashes.
        url: Where it is published; the manifest's `base_url` + `path` if empty.
        bytes: Its size.
        sha256: 64 hexadecimal digits.
        md5: 32 hexadecimal digits.
        holds: What is in it.
        unpacks: Glob of what is there instead once the archive was unpacked and removed.
    """

    path: str
    url: str = ""
    bytes: int | NotPublished = NOT_PUBLISHED
    sha256: str = NOT_PUBLISHED
    md5: str = NOT_PUBLISHED
    holds: str = ""
    unpacks: str = ""

    @property
    def size(self) -> int | None:
        """Bytes, None where not published."""
        return self.bytes if isinstance(self.bytes, int) else None

    @property
    def digest(self) -> tuple[str, str] | None:
        """The strongest published checksum: its algorithm and digits; None where there is none."""
        found = ((name, getattr(self, name)) for name in _DIGESTS)
        return next(((name, value) for name, value in found if value != NOT_PUBLISHED), None)


@dataclass(frozen=True)
class LabelClass(LandClass):
    """One class, as `fewshot.geo.landcover` knows it, and how common it is.

    Attributes:
        share: Of the labelled pixels, in percent, as published.
    """

    share: float | None = None


@dataclass(frozen=True)
class FileLayout:
    """How the files lie in the data set's folder.

    Attributes:
        pattern: Path of one file with fields in braces; `{part}` is one of `parts`. A field holds neither "/",
            "_" nor ".", and means the same wherever it is repeated.
        parts: The files that make one sample, such as s1, s2 and lc.
        region: The fields that name a region; the last one is its place.
        image_size: Rows and columns of every image, in pixels.
        pixel_metres: Side of a pixel on the ground.
        label_part: The part that holds labels.
        label_bands: What the bands of that part are.
        reader: A reader of ours that lists the samples where a pattern cannot.
        describes: The layout in words.
    """

    pattern: str = ""
    parts: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    image_size: int | None = None
    pixel_metres: float | None = None
    label_part: str = ""
    label_bands: tuple[str, ...] = ()
    reader: Literal["", "task_archives"] = ""
    describes: str = ""

    def match(self, path: str) -> dict[str, str] | None:
        """Return the fields of a file's path relative to the folder, None if it is not of this layout."""
        found = _expression(self.pattern, self.parts).fullmatch(path)
        return found.groupdict() if found else None

    def path(self, **values: object) -> str:
        """Return the relative path of the file that has these fields."""
        return self.pattern.format(**values)

    @property
    def suffixes(self) -> frozenset[str]:
        """Endings of the files, such as ".tif"."""
        parts = self.parts or ("",)
        return frozenset(PurePosixPath(self.pattern.replace("{part}", part)).suffix for part in parts)


@dataclass(frozen=True)
class Manifest:
    """Everything known of one data set before any of it is here.

    Attributes:
        name: The manifest's own name.
        title: Of the data set.
        licence: Its name, and where it differs from part to part, of which.
        citation: What to cite.
        homepage: Where the publisher describes it.
        image: What one image is, in words.
        size: Of the whole data set, in words, where the files' sizes do not say it.
        samples: How many samples (triplets, images, tasks) the whole data set has.
        base_url: What the files' own paths are appended to.
        manual: What to do by hand, where files cannot be fetched by a program. DIR stands for the folder to fetch to.
        simulated: Whether the data is made by a program, and so says nothing about the Earth.
        made_by: The command that makes simulated data.
        splits: Region ids (places, whatever the season) of each part of the published split.
        holdout: Region ids of the publisher's own hold-out scenes, by season.
        seeds: The number that goes with a season in file names.
        damaged: Names of what is known to be damaged as published, without ending.
        remarks: Further facts a user should know.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    image: str = ""
    size: str = NOT_PUBLISHED
    samples: int | None = None
    base_url: str = ""
    manual: str = ""
    simulated: bool = False
    made_by: str = ""
    files: tuple[File, ...] = ()
    bands: tuple[StoredBand, ...] = ()
    classes: tuple[LabelClass, ...] = ()
    layout: FileLayout = field(default_factory=FileLayout)
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holdout: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def class_table(self) -> ClassTable:
        """The classes as a scheme that reads label rasters and colour masks."""
        return ClassTable(self.title, self.classes)

    def url_of(self, file: File) -> str:
        """Return where a file is published, "" where it must be got by hand."""
        return file.url or (self.base_url + file.path if self.base_url else "")

    def choose(self, patterns: Sequence[str] = ()) -> tuple[File, ...]:
        """Return the files whose path, or last part of it, matches one of the patterns; all files for none.

        Raises:
            DataNotFoundError: if a pattern matches no file.
        """
        chosen: set[str] = set()
        paths = [file.path for file in self.files]
        for pattern in patterns:
            found = {p for p in paths if fnmatch.fnmatch(p, pattern) or fnmatch.fnmatch(Path(p).name, pattern)}
            if not found:
                listed = f"It has: {', '.join(paths)}." if paths else "Its manifest lists no single files."
                raise DataNotFoundError(f"{self.name} has no file {pattern!r}.{nearest(pattern, paths)} {listed}")
            chosen |= found
        return tuple(file for file in self.files if not patterns or file.path in chosen)


def manifest_names() -> tuple[str, ...]:
    """Return the names of the manifests that ship with the program."""
    return tuple(sorted(path.stem for path in _shipped().glob("*.toml")))


def read_manifest(name: str | Path) -> Manifest:
    """Read a manifest: one that ships with the program, by its name, or a TOML file.

    Raises:
        ManifestError: if there is none of that name, a key is unknown, or a value is of the wrong type or does
            not fit the others.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _shipped() / f"{name}.toml"
        if str(name) not in manifest_names():
            known = manifest_names()
            raise ManifestError(
                f"there is no data set {str(name)!r}.{nearest(str(name), known)} Known: {', '.join(known)}."
                " A manifest of your own is named by its path, ending in .toml."
            )
    table = _tables(path)
    same_as = table.pop(_SAME_AS, {})
    if not isinstance(same_as, Mapping):
        raise ManifestError(f"{path}: {_SAME_AS} = {same_as!r}: expected a table, such as bands = 'sen12ms'.")
    for key, other in same_as.items():
        table[key] = _borrowed(path, table, key, other)
    for key in table:
        _check_key(path, key)
    manifest = make_table(Manifest, {"name": path.stem, **table}, str(path), error=ManifestError)
    wrong = next(_misfits(manifest), None)
    if wrong:
        raise ManifestError(f"{path}: {wrong}")
    return manifest


def _shipped() -> Path:
    """Return the folder of the manifests that ship with the program."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise ManifestError(
        f"the data manifests are missing: neither {_FOLDERS[0]} nor {_FOLDERS[1]} exists. Install fewshot again."
    )


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"there is no manifest {path}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as TOML: {error}.") from None


def _check_key(path: Path, key: str) -> None:
    """Refuse a key that no manifest has; `same_as` is one that the dataclass does not know."""
    known = [f.name for f in fields(Manifest) if f.name != "name"] + [_SAME_AS]
    if key not in known:
        raise ManifestError(f"{path}: unknown key {key}.{nearest(key, known)} Known here: {', '.join(known)}.")


def _borrowed(path: Path, table: Mapping[str, Any], key: str, other: Any) -> Any:
    """Return what `[same_as]` takes from another manifest, which must write it itself."""
    _check_key(path, key)
    if key in table:
        raise ManifestError(f"{path}: {key} is written here and in {_SAME_AS}; leave one of them out.")
    if other not in manifest_names():
        hint = nearest(str(other), manifest_names())
        raise ManifestError(f"{path}: {_SAME_AS}.{key} = {other!r}: expected the name of a shipped manifest.{hint}")
    theirs = _tables(_shipped() / f"{other}.toml")
    if key not in theirs:
        raise ManifestError(f"{path}: {_SAME_AS}.{key} = {other!r}, but {other}.toml does not write {key} itself.")
    return theirs[key]


def _misfits(manifest: Manifest) -> Iterator[str]:
    """Say what is wrong with a manifest whose types are right."""
    for file in manifest.files:
        yield from _file_misfits(file, manifest.url_of(file))
    for what, names in (
        ("file", [file.path for file in manifest.files]),
        ("band", [band.name for band in manifest.bands]),
        ("class", [entry.name for entry in manifest.classes]),
        ("colour", [str(entry.colour) for entry in manifest.classes if entry.colour]),
        ("id of a class", [str(number) for entry in manifest.classes for number in entry.ids]),
        ("region id of a split", [name for part in manifest.splits.values() for name in part]),
    ):
        yield from (f"{what} {name} occurs {n} times, expected once" for name, n in Counter(names).items() if n > 1)
    for entry in manifest.classes:
        if not all(0 <= value <= 255 for value in entry.colour or ()):
            yield f"class {entry.name} has colour {entry.colour}, expected three numbers 0-255"
    for band in manifest.bands:
        if band.part and band.part not in manifest.layout.parts:
            yield f"band {band.name} is in part {band.part!r}, but the layout has {manifest.layout.parts}"
    yield from _layout_misfits(manifest.layout)
    if manifest.simulated and not manifest.made_by:
        yield "simulated data needs made_by, the command that makes it"
    if not (manifest.simulated or manifest.manual) and not all(manifest.url_of(file) for file in manifest.files):
        yield "files without a URL need manual: what to do by hand"


def _layout_misfits(layout: FileLayout) -> Iterator[str]:
    named = re.findall(r"\{(\w+)\}", layout.pattern)
    if layout.pattern and not layout.pattern.partition("/")[2]:
        yield f"layout.pattern {layout.pattern!r} has no folder, expected one such as 'train/{{region}}.tif'"
    if layout.pattern and not (layout.region and set(layout.region) <= set(named)):
        yield f"layout.region is {list(layout.region)}, expected fields of the pattern, which has {named}"
    if bool(layout.parts) != ("part" in named):
        yield f"layout.parts is {list(layout.parts)}, expected the values of {{part}} in the pattern {layout.pattern!r}"
    if layout.label_part and layout.label_part not in layout.parts:
        yield f"layout.label_part is {layout.label_part!r}, expected one of {list(layout.parts)}"


def _file_misfits(file: File, url: str) -> Iterator[str]:
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts or not path.name or "\\" in file.path:
        yield f"file {file.path!r} does not lie in the data set's folder; expected a relative path without '..'"
    if url and not url.startswith(("https://", "http://")):
        yield f"file {file.path} has URL {url!r}, expected https:// or http://"
    if file.size is not None and file.size <= 0:
        yield f"file {file.path} has {file.bytes} bytes, expected more than 0 or {NOT_PUBLISHED!r}"
    for name, digits in _DIGESTS.items():
        value = getattr(file, name)
        if value != NOT_PUBLISHED and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
            yield f"file {file.path} has {name} {value!r}, expected {digits} lower-case hexadecimal digits"


@functools.cache
def _expression(pattern: str, parts: tuple[str, ...]) -> re.Pattern[str]:
    """Turn a layout's pattern into a regular expression."""
    pieces = re.split(r"\{(\w+)\}", pattern)  # literal, field, literal, field, ..., literal
    seen: set[str] = set()
    expression = re.escape(pieces[0])
    for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
        choice = "|".join(map(re.escape, parts)) if name == "part" else "[^/_.]+"
        expression += f"(?P={name})" if name in seen else f"(?P<{name}>{choice})"
        expression += re.escape(literal)
        seen.add(name)
    return re.compile(expression)
