"""The facts in data_manifests/, against the real files where they are there; and what a manifest may not say."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from fewshot.data.catalogue.manifest import FileLayout, Manifest, manifest_names, read_manifest
from fewshot.data.sources.omniglot import read_omniglot
from fewshot.errors import DataNotFoundError, ManifestError
from fewshot.geo import bands as geo
from fewshot.geo.landcover import DEEPGLOBE, IGBP, ClassTable

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "data_manifests").glob("*.toml"))
HEAD = 'title = "T"\nlicence = "L"\ncitation = "C"\nhomepage = "H"\n'


def write(folder: Path, text: str, head: str = HEAD) -> Path:
    path = folder / "own.toml"
    path.write_text(head + text, encoding="utf-8")
    return path


def test_the_asked_for_data_sets_are_there() -> None:
    assert manifest_names() == ("deepglobe", "omniglot", "sen12ms", "sen12ms-tasks", "synthetic")
    assert manifest_names() == tuple(sorted(path.stem for path in SHIPPED))


@pytest.mark.parametrize("name", manifest_names())
def test_manifests_name_licence_citation_and_home(name: str) -> None:
    manifest = read_manifest(name)
    assert manifest.name == name
    assert all((manifest.title, manifest.licence, manifest.citation, manifest.homepage, manifest.image))
    assert manifest == read_manifest(ROOT / "data_manifests" / f"{name}.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_file_says_its_size_and_checksum_or_that_they_are_not_published(path: Path) -> None:
    for file in tomllib.loads(path.read_text(encoding="utf-8")).get("files", []):
        assert "bytes" in file, file
        assert {"md5", "sha256"} & set(file), file


@pytest.mark.parametrize("name", manifest_names())
def test_each_data_set_can_be_got(name: str) -> None:
    manifest = read_manifest(name)
    fetchable = bool(manifest.files) and all(manifest.url_of(file) for file in manifest.files)
    assert fetchable or manifest.manual or manifest.made_by
    assert "DIR" in manifest.manual + manifest.made_by or fetchable


def test_omniglot_files_are_those_of_the_manifest(omniglot_root: Path) -> None:
    manifest = read_manifest("omniglot")
    present = [file for file in manifest.files if (omniglot_root / file.path).exists()]
    assert len(present) >= 2
    for file in present:
        content = (omniglot_root / file.path).read_bytes()
        assert (hashlib.md5(content).hexdigest(), len(content)) == (file.md5, file.bytes)
    assert manifest.url_of(manifest.files[0]).endswith("/omniglot/raw/master/python/images_background.zip")


def test_omniglots_ink_is_what_the_reader_makes_of_it(omniglot_root: Path) -> None:
    (ink,) = read_manifest("omniglot").bands
    read = read_omniglot([omniglot_root / "images_background_small1.zip"], size=105)
    values = set(read.store.read([0]).ravel().tolist())
    assert values == {stored * ink.scale + ink.offset for stored in (0, 1)}
    assert read.store.read([0]).mean() < 0.5, "most of a page is paper, which is 0"


@pytest.mark.parametrize("name", ["sen12ms", "sen12ms-tasks", "synthetic"])
def test_class_names_are_the_readers_own(name: str) -> None:
    assert tuple(entry.name for entry in read_manifest(name).classes) == IGBP.names


def test_every_igbp_class_belongs_to_one_simplified_class() -> None:
    classes = read_manifest("sen12ms").classes
    assert sorted(number for entry in classes for number in entry.ids) == list(range(1, 18))
    merged = {entry.name: entry.ids for entry in classes}
    assert merged["Forests"] == (1, 2, 3, 4, 5)
    assert merged["Croplands"] == (12, 14)
    assert merged["Water"] == (17,)


@pytest.mark.parametrize(("name", "scheme"), [("sen12ms", IGBP), ("deepglobe", DEEPGLOBE)])
def test_manifests_and_label_readers_agree_on_classes(name: str, scheme: ClassTable) -> None:
    ours = read_manifest(name).class_table
    assert (ours.names, ours.colours) == (scheme.names, scheme.colours)
    assert [(entry.ids, entry.ignored) for entry in ours.classes] == [(e.ids, e.ignored) for e in scheme.classes]


def test_sen12ms_split_and_hold_out_scenes() -> None:
    manifest = read_manifest("sen12ms")
    assert {name: len(ids) for name, ids in manifest.splits.items()} == {"train": 75, "validation": 25, "test": 25}
    assert len({place for ids in manifest.splits.values() for place in ids}) == 125
    assert manifest.splits["test"][:3] == ("8", "17", "21")
    assert {season: len(ids) for season, ids in manifest.holdout.items()} == {
        "spring": 6,
        "summer": 7,
        "fall": 8,
        "winter": 5,
    }
    assert manifest.seeds == {"spring": 1158, "summer": 1868, "fall": 1970, "winter": 2017}
    assert manifest.samples == 180662
    assert manifest.damaged == ("ROIs1868_summer_s1_146_p202",)
    named = {f"ROIs{seed}_{s}_{part}.tar.gz" for s, seed in manifest.seeds.items() for part in manifest.layout.parts}
    assert {file.path for file in manifest.files} == named


def test_sen12ms_tasks_real_regions_are_test_regions(sen12ms_root: Path) -> None:
    places = {path.stem.rpartition("_")[2] for path in sen12ms_root.glob("*.zip")}
    assert places
    assert places <= set(read_manifest("sen12ms").splits["test"])


def test_sen12ms_bands() -> None:
    bands = read_manifest("sen12ms").bands
    assert [band.name for band in bands if band.part == "s1"] == ["VV", "VH"]
    optical = [band for band in bands if band.part == "s2"]
    assert [band.name for band in optical] == [f"B{n}" for n in (*range(1, 9), "8A", *range(9, 13))]
    assert [band.wavelength for band in optical] == sorted(
        [443, 490, 560, 665, 705, 740, 783, 842, 865, 940, 1375, 1610, 2190]
    )
    assert {band.scale for band in optical} == {1e-4}
    assert {band.scale for band in bands if band.part == "s1"} == {1e-2}
    assert {band.unit for band in optical} == {geo.REFLECTANCE}, "so that a wrong scale is noticed"
    assert {band.nodata for band in bands} == {None}, "nodata is what the file says, and 0 is a value"


def test_sen12ms_layout_reads_and_writes_paths() -> None:
    layout = read_manifest("sen12ms").layout
    path = "ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p30.tif"
    fields = {"seed": "1158", "season": "spring", "part": "s1", "region": "1", "patch": "30"}
    assert layout.match(path) == fields
    assert layout.path(**fields) == path
    for wrong in (
        path.replace("_s1_1_p", "_s2_1_p"),  # the folder says s1
        path.replace("/s1_1/", "/s1_2/"),
        path.replace("s1", "s3"),
        path.replace(".tif", ".tif.aux.xml"),
        path.replace("_p30", ""),
        f"SEN12MS/{path}",
    ):
        assert layout.match(wrong) is None, wrong


def test_deepglobe_colours_and_layout() -> None:
    manifest = read_manifest("deepglobe")
    assert {entry.name: entry.colour for entry in manifest.classes} == {
        "urban": (0, 255, 255),
        "agriculture": (255, 255, 0),
        "rangeland": (255, 0, 255),
        "forest": (0, 255, 0),
        "water": (0, 0, 255),
        "barren": (255, 255, 255),
        "unknown": (0, 0, 0),
    }
    assert [entry.name for entry in manifest.classes if entry.ignored] == ["unknown"]
    assert sum(entry.share or 0 for entry in manifest.classes) == pytest.approx(100, abs=0.05)
    assert {band.scale for band in manifest.bands} == {1 / 255}
    assert manifest.layout.match("train/119_mask.png") == {"region": "119", "part": "mask.png"}
    assert manifest.layout.suffixes == {".jpg", ".png"}


def test_the_simulated_earth_is_labelled_as_such_and_has_sen12ms_bands() -> None:
    manifest, real = read_manifest("synthetic"), read_manifest("sen12ms")
    assert manifest.simulated
    assert "fewshot data simulate" in manifest.made_by
    assert all("SIMULATED" in text for text in (manifest.title, manifest.citation, manifest.image))
    assert (manifest.bands, manifest.classes, manifest.layout) == (real.bands, real.classes, real.layout)
    assert [name for name in manifest_names() if read_manifest(name).simulated] == ["synthetic"]


FILE = 'files = [{{ path = "{path}", url = "{url}", {rest} }}]\n'
GOOD_FILE = {"path": "a.zip", "url": "https://x.org/a.zip", "rest": ""}
BAND = 'bands = [{ name = "B1", '
CLASS = '{{ ids = [{}], name = "{}", colour = {} }}'


def file_with(**changes: str) -> str:
    return FILE.format(**{**GOOD_FILE, **changes}).replace(",  }", " }")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('licenze = "x"\n', r"own.toml: unknown key licenze. Did you mean 'licence'"),
        ('sameas = "x"\n', "Did you mean 'same_as'"),
        ('name = "x"\n', "unknown key name"),
        (BAND + "wavelenght = 443 }]\n", r"unknown key bands\[0\].wavelenght. Did you mean 'wavelength'"),
        (BAND + 'scale = "1e-4" }]\n', r"own.toml: bands\[0\].scale = '1e-4': expected a number"),
        (BAND + "scale = true }]\n", r"bands\[0\].scale = True: expected a number"),
        (
            BAND + 'nodata = "zero" }]\n',
            r"bands\[0\].nodata = 'zero': expected a number",
        ),
        (BAND + 'part = "s9" }]\n', "band B1 is in part 's9'"),
        ('bands = [{ name = "B1" }, { name = "B1" }]\n', "band B1 occurs 2 times"),
        ("bands = [{ scale = 1 }]\n", r"bands\[0\].name is missing, expected text"),
        ("bands = 3\n", "bands = 3: expected a list, each item a table with name, wavelength"),
        ("samples = 1.5\n", "samples = 1.5: expected a whole number"),
        ("simulated = 1\n", "simulated = 1: expected true or false"),
        ("simulated = true\n", "needs made_by"),
        ("[splits]\ntrain = [1, 2]\n", r"splits.train\[0\] = 1: expected text"),
        ('[splits]\ntrain = ["1"]\ntest = ["2", "1"]\n', "region id of a split 1 occurs 2 times"),
        ('[layout]\nreader = "mine"\n', "layout.reader = 'mine': expected one of '', 'task_archives'"),
        ("[layout]\npattern = '{region}.tif'\nregion = ['region']\n", "has no folder"),
        ("[layout]\npattern = 'a/{x}.tif'\nregion = ['region']\n", r"layout.region is \['region'\], expected fields"),
        (
            "[layout]\npattern = 'a/{x}.tif'\n",
            r"layout.region is \[\], expected fields of the pattern, which has \['x'\]",
        ),
        ("[layout]\nparts = ['s1']\n", r"layout.parts is \['s1'\], expected the values of {part} in the pattern ''"),
        ("[layout]\nlabel_part = 'lc'\n", "layout.label_part is 'lc', expected one of"),
        ("[layout]\nparts = [1]\n", r"layout.parts\[0\] = 1: expected text"),
        (
            f"classes = [{CLASS.format(1, 'a', '[0, 0]')}]\n",
            r"classes\[0\].colour = \[0, 0\]: expected a list of 3, each item a whole number",
        ),
        (f"classes = [{CLASS.format(1, 'a', '[0, 0, 256]')}]\n", "class a has colour .*expected three numbers 0-255"),
        (
            f"classes = [{CLASS.format(1, 'a', '[0, 0, 1]')}, {CLASS.format(2, 'b', '[0, 0, 1]')}]\n",
            r"colour \(0, 0, 1\) occurs 2 times",
        ),
        (
            f"classes = [{CLASS.format(1, 'a', '[0, 0, 1]')}, {CLASS.format(1, 'b', '[0, 0, 2]')}]\n",
            "id of a class 1 occurs 2 times",
        ),
        (file_with(path="../a.zip"), "does not lie in the data set's folder"),
        (file_with(path="/a.zip"), "does not lie in the data set's folder"),
        (file_with(url="ftp://x.org/a"), "has URL 'ftp://x.org/a', expected https:// or http://"),
        (file_with(url=""), "files without a URL need manual"),
        (file_with(rest='bytes = "12"'), r"files\[0\].bytes = '12': expected a whole number or 'not published'"),
        (file_with(rest="bytes = 0"), "has 0 bytes"),
        (file_with(rest='md5 = "123"'), "has md5 '123', expected 32 lower-case hexadecimal digits"),
        (file_with(rest='sha256 = "unknown"'), "has sha256 'unknown', expected 64"),
        ('[same_as]\nbands = "sen12mss"\n', "same_as.bands = 'sen12mss': .*Did you mean 'sen12ms'"),
        ('[same_as]\nband = "sen12ms"\n', "unknown key band. Did you mean 'bands'"),
        ('[same_as]\nsplits = "omniglot"\n', "omniglot.toml does not write splits itself"),
        ('bands = []\n[same_as]\nbands = "sen12ms"\n', "bands is written here and in same_as"),
        ('same_as = "sen12ms"\n', "same_as = 'sen12ms': expected a table"),
        ("title = 3\n", "own.toml cannot be read as TOML: Cannot overwrite a value"),
    ],
)
def test_what_a_manifest_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path, text))


def test_what_a_manifest_must_say(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="own.toml: licence is missing, expected text"):
        read_manifest(write(tmp_path, "", HEAD.replace('licence = "L"\n', "")))
    assert read_manifest(write(tmp_path, "")) == Manifest("own", "T", "L", "C", "H")


def test_unknown_names_are_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no data set 'sen12m'. Did you mean 'sen12ms'\?"):
        read_manifest("sen12m")
    with pytest.raises(ManifestError, match="there is no manifest .*nowhere.toml"):
        read_manifest(tmp_path / "nowhere.toml")


def test_files_are_chosen_by_pattern() -> None:
    manifest = read_manifest("omniglot")
    assert manifest.choose() == manifest.files
    assert [file.path for file in manifest.choose(["all_runs.zip"])] == ["one-shot-classification/all_runs.zip"]
    assert len(manifest.choose(["*small?.zip", "*small1.zip"])) == 2
    with pytest.raises(DataNotFoundError, match="no file 'images_backgrund.zip'. Did you mean 'images_background.zip'"):
        manifest.choose(["images_backgrund.zip"])
    with pytest.raises(DataNotFoundError, match="lists no single files"):
        read_manifest("deepglobe").choose(["x"])


def test_a_layout_takes_parts_and_other_characters_literally() -> None:
    layout = FileLayout(pattern="a+b/{region}_{part}", parts=("x.png", "y.png"))
    assert layout.match("a+b/1_x.png") == {"region": "1", "part": "x.png"}
    assert layout.match("aab/1_x.png") is None
    assert layout.match("a+b/1_xxpng") is None


def test_manifests_are_found_where_the_wheel_puts_them(tmp_path: Path) -> None:
    """The wheel has them inside the package, and nothing at the top of a repository."""
    shutil.copytree(ROOT / "fewshot", tmp_path / "fewshot", ignore=shutil.ignore_patterns("__pycache__", "training"))
    shutil.copytree(ROOT / "data_manifests", tmp_path / "fewshot/data/manifests")
    code = (
        "from fewshot.data.catalogue import manifest as m;"
        "print(m.__file__); print(*m.manifest_names()); print(m.read_manifest('synthetic').bands[0].name)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    where, names, band = run.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert (tuple(names.split()), band) == (manifest_names(), "VV")
    shutil.rmtree(tmp_path / "fewshot/data/manifests")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ManifestError: the data manifests are missing" in run.stderr


def test_list_names_every_data_set_its_licence_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    listed = CliRunner().invoke(cli.main, ["data", "list"], catch_exceptions=False).output
    for name in manifest_names():
        (row,) = [line for line in listed.splitlines() if re.match(rf"\W*{name} ", line)]
        assert read_manifest(name).licence in row
        assert ("fewshot data simulate" if name == "synthetic" else f"fewshot data fetch {name} --to DIR") in row
    assert "about 510 GB" in listed


def test_show_gives_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")

    def show(name: str) -> str:
        return CliRunner().invoke(cli.main, ["data", "show", name], catch_exceptions=False).output

    shown = show("sen12ms")
    for fact in (
        "CC BY 4.0",
        "10.5194/isprs-annals",
        "B8A",
        "865",
        "12, 14",
        "test (25): 8 17 21",
        "winter (5): 32 64",
    ):
        assert fact in shown
    assert "ROIs1158_spring_s1.tar.gz: size not published, checksum not published, Sentinel-1, spring" in shown
    assert "68d2efa1b9178cc56df9314c21c6e718" in show("omniglot")
    assert "#00ffff" in show("deepglobe")
    assert "ignored" in show("deepglobe")
    assert "SIMULATED: nothing found on it holds for the Earth." in show("synthetic")


def test_an_unknown_data_set_is_one_message() -> None:
    result = CliRunner().invoke(cli.main, ["data", "show", "omniglott"])
    assert result.exit_code == 1
    assert "Did you mean 'omniglot'" in result.output
    assert isinstance(result.exception, SystemExit)
