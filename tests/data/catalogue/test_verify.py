"""What is wrong with a data set on disk, by name: against checksums, against a layout, and by reading every image."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio.transform import Affine

import cli
from fewshot.data.catalogue.manifest import Manifest, read_manifest
from fewshot.data.catalogue.verify import Verification, verify
from fewshot.errors import DataNotFoundError

HEAD = 'title = "Mine"\nlicence = "L"\ncitation = "C"\nhomepage = "H"\n'
SIZE = 16  # pixels of a miniature patch's side


def run(name: str | Path, folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli.main, ["data", "verify", str(name), str(folder), *options])


def problems(found: Verification) -> list[tuple[str, str]]:
    return [(problem.path, problem.kind) for problem in found.problems]


@pytest.fixture
def omniglot(omniglot_root: Path, tmp_path: Path) -> Path:
    """Copies of the real files."""
    for path in omniglot_root.glob("*.zip"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_real_files_pass_and_those_that_are_not_here_are_named(omniglot: Path) -> None:
    assert run("omniglot", omniglot, "--file", "*small?.zip").exit_code == 0
    result = run("omniglot", omniglot)
    assert result.exit_code == 1
    assert "Checked: 2 of 5 files by size and md5." in result.output
    for name in ("images_background.zip", "images_evaluation.zip", "one-shot-classification/all_runs.zip"):
        assert f"{name}: missing: expected in {omniglot}" in result.output
    assert "3 problems" in result.output


def test_a_truncated_and_an_altered_real_file_are_named(omniglot: Path) -> None:
    small1, small2 = (omniglot / f"images_background_small{n}.zip" for n in (1, 2))
    content = bytearray(small1.read_bytes())
    content[1000] ^= 1
    small1.write_bytes(content)
    small2.write_bytes(small2.read_bytes()[:-10])
    # Of this one no size is published: a zip without its end is truncated all the same.
    (omniglot / "images_evaluation.zip").write_bytes(bytes(content[:5000]))
    found = verify(read_manifest("omniglot"), omniglot, only=["*small?.zip", "images_evaluation.zip"])
    assert problems(found) == [
        ("images_evaluation.zip", "truncated"),
        ("images_background_small1.zip", "altered"),
        ("images_background_small2.zip", "truncated"),
    ]
    details = [problem.detail for problem in found.problems]
    assert "its 5,000 bytes are not a whole zip archive" in details[0]
    assert details[1].startswith("expected md5 e704a628b5459e08445c13499850abc4, received ")
    assert details[2].startswith("expected 1,580,917 bytes, received 1,580,907; expected md5 b75a71a5")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no folder .*nowhere. Name the folder of Omniglot"):
        verify(read_manifest("omniglot"), tmp_path / "nowhere")


def write_patch(root: Path, season: str, region: int, patch: int, parts: str = "s1 s2 lc") -> None:
    shapes = {"s1": (2, "float32"), "s2": (13, "uint16"), "lc": (4, "uint8")}
    layout = read_manifest("sen12ms").layout
    for part in parts.split():
        seed = read_manifest("sen12ms").seeds[season]
        path = root / layout.path(seed=seed, season=season, part=part, region=region, patch=patch)
        path.parent.mkdir(parents=True, exist_ok=True)
        bands, dtype = shapes[part]
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
        with rasterio.open(path, "w", "GTiff", SIZE, SIZE, bands, dtype=dtype, **place) as raster:
            raster.write(np.ones((bands, SIZE, SIZE), dtype))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A miniature of SEN12MS: two regions of two patches."""
    for season, region in (("spring", 8), ("winter", 3)):
        for patch in (30, 31):
            write_patch(tmp_path / "tree", season, region, patch)
    return tmp_path / "tree"


@pytest.fixture
def miniature(tmp_path: Path) -> Callable[..., Manifest]:
    """A manifest of such a tree, of miniature patches and so many samples."""

    def make(samples: int = 4) -> Manifest:
        source = read_manifest("sen12ms")
        text = f'{HEAD}samples = {samples}\ndamaged = ["ROIs2017_winter_s1_3_p31"]\n'
        text += f"[layout]\npattern = {source.layout.pattern!r}\nparts = ['s1', 's2', 'lc']\n"
        text += f"region = ['season', 'region']\nimage_size = {SIZE}\nlabel_part = 'lc'\n"
        text += "label_bands = ['IGBP', 'cover', 'use', 'hydrology']\n"
        text += '[same_as]\nbands = "sen12ms"\nclasses = "sen12ms"\nseeds = "sen12ms"\nsplits = "sen12ms"\n'
        path = tmp_path / "miniature.toml"
        path.write_text(text)
        return read_manifest(path)

    return make


def test_a_whole_tree_passes_and_its_regions_are_counted(tree: Path, miniature: Callable[..., Manifest]) -> None:
    for beside in ("readme.txt", "ROIs1158_spring/s1_8/ROIs1158_spring_s1_8_p30.tif.aux.xml", "other/x.tif"):
        (tree / beside).parent.mkdir(exist_ok=True)
        (tree / beside).write_text("x")
    found = verify(miniature(), tree)
    assert found.problems == []
    assert found.regions == {"spring_8": 2, "winter_3": 2}
    assert found.checked == ["4 whole samples (s1 + s2 + lc) in 2 regions, by name"]
    assert found.unchecked == ["the pixels of 12 files; add --deep to read every one"]
    deep = verify(miniature(), tree, deep=True)
    assert deep.problems == []
    assert deep.checked[-1] == "the pixels of 12 files"
    assert deep.unchecked == []


def test_everything_wrong_with_a_tree_is_named(tree: Path, miniature: Callable[..., Manifest]) -> None:
    lost = "ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p30.tif"
    empty = "ROIs1158_spring/lc_8/ROIs1158_spring_lc_8_p31.tif"
    dangling = "ROIs2017_winter/s2_3/ROIs2017_winter_s2_3_p30.tif"
    stray = "ROIs1158_spring/s1_8/ROIs1158_spring_s1_9_p1.tif"
    season = "ROIs1158_sprng/s1_8/ROIs1158_sprng_s1_8_p1.tif"
    seed = "ROIs1868_spring/s1_8/ROIs1868_spring_s1_8_p1.tif"
    (tree / lost).unlink()
    (tree / empty).write_bytes(b"")
    (tree / dangling).unlink()
    (tree / dangling).symlink_to(tree / "gone.tif")
    for path in (stray, season, seed):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"x")
    found = verify(miniature(), tree)
    assert set(problems(found)) == {
        (lost, "missing"),
        (empty, "truncated"),
        (dangling, "unreadable"),
        (stray, "misnamed"),
        (season, "misnamed"),
        (seed, "misnamed"),
    }
    details = {problem.path: problem.detail for problem in found.problems}
    assert details[lost] == "ROIs1158_spring/lc_8/ROIs1158_spring_lc_8_p30.tif needs it"
    assert "season 'sprng', expected one of spring, summer" in details[season]
    assert details[seed] == "seed 1868, expected 1158 for its season"
    assert found.regions == {"spring_8": 1, "winter_3": 2}


def test_reading_every_image_finds_what_names_do_not_show(tree: Path, miniature: Callable[..., Manifest]) -> None:
    cut = tree / "ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p30.tif"
    cut.write_bytes(cut.read_bytes()[:-3000])
    known = tree / "ROIs2017_winter/s1_3/ROIs2017_winter_s1_3_p31.tif"
    known.write_bytes(b"no raster")
    other = tree / "ROIs2017_winter/s2_3/ROIs2017_winter_s2_3_p30.tif"
    shutil.copy(tree / "ROIs2017_winter/s1_3/ROIs2017_winter_s1_3_p30.tif", other)
    assert verify(miniature(), tree).problems == []
    found = verify(miniature(), tree, deep=True)
    assert [(Path(path).name, kind) for path, kind in problems(found)] == [
        (cut.name, "unreadable"),
        (known.name, "unreadable"),
        (other.name, "altered"),
    ]
    assert found.problems[1].detail.endswith("(known to be damaged as published)")
    assert "expected [rows, columns, bands] [16, 16, 13], received [16, 16, 2]" in found.problems[2].detail


@pytest.mark.parametrize(("samples", "kind"), [(5, "missing"), (3, "altered")])
def test_another_number_of_samples_than_published_is_a_problem(
    tree: Path, miniature: Callable[..., Manifest], samples: int, kind: str
) -> None:
    (problem,) = verify(miniature(samples), tree).problems
    assert (problem.path, problem.kind) == (".", kind)
    assert problem.detail == f"expected {samples} whole samples in all, received 4"


def test_region_ids_that_no_split_names_are_said(tree: Path, miniature: Callable[..., Manifest]) -> None:
    write_patch(tree, "fall", 500, 1)
    found = verify(miniature(5), tree)
    assert found.problems == []
    assert any(line.startswith("region ids 500:") for line in found.unchecked)


def test_sen12ms_itself_wants_every_archive_or_what_it_unpacks_to(tree: Path) -> None:
    result = run("sen12ms", tree)
    assert result.exit_code == 1
    for name in ("summer", "fall"):
        for part in ("s1", "s2", "lc"):
            assert any(f"_{name}_{part}.tar.gz: missing" in line for line in result.output.splitlines())
    assert "winter_s1.tar.gz: missing" not in result.output
    assert "6 problems" in result.output
    assert "Not checked: ROIs1158_spring_s1.tar.gz: it was unpacked" in result.output
    assert "Samples by region: spring_8 2, winter_3 2." in result.output


def test_simulated_data_lies_as_sen12ms_does_and_is_said_to_be_simulated(tree: Path) -> None:
    result = run("synthetic", tree)
    assert result.exit_code == 0
    assert "SIMULATED data." in result.output


@pytest.mark.parametrize("name", ["sen12ms", "deepglobe", "synthetic"])
def test_an_empty_folder_has_no_sample(name: str, tmp_path: Path) -> None:
    result = run(name, tmp_path)
    assert result.exit_code == 1
    assert f".: missing: no file {read_manifest(name).layout.pattern}" in result.output


def test_deepglobe_pairs(tmp_path: Path, write_picture: Callable[..., Path]) -> None:
    for number in (119, 266):
        write_picture(tmp_path / f"train/{number}_sat.jpg", (1, 2, 3))
        write_picture(tmp_path / f"train/{number}_mask.png", (0, 255, 255))
    (tmp_path / "train/266_mask.png").unlink()
    (tmp_path / "train/119_sat.jpg").write_bytes((tmp_path / "train/119_sat.jpg").read_bytes()[:200])
    write_picture(tmp_path / "train/classes.png")
    write_picture(tmp_path / "valid/9_sat.jpg", (1, 2, 3))
    found = verify(read_manifest("deepglobe"), tmp_path, deep=True)
    assert set(problems(found)) == {
        ("train/266_mask.png", "missing"),
        ("train/classes.png", "misnamed"),
        ("train/119_sat.jpg", "unreadable"),
        ("train/119_mask.png", "altered"),
        ("train/266_sat.jpg", "altered"),
    }
    details = {problem.path: problem.detail for problem in found.problems}
    assert "expected [rows, columns, bands] [2448, 2448, 3], received [8, 8, 3]" in details["train/266_sat.jpg"]
    assert found.regions == {"119": 1, "266": 0}


@pytest.fixture
def tasks(sen12ms_root: Path, tmp_path: Path) -> Path:
    """Two real archives of fixed tasks."""
    for name in ("fall_122.zip", "winter_130.zip"):
        shutil.copy(sen12ms_root / name, tmp_path)
    return tmp_path


def test_real_tasks_are_read_and_counted(tasks: Path) -> None:
    result = run("sen12ms-tasks", tasks)
    assert result.exit_code == 0
    assert "Samples by region: fall_122 38, winter_130 31." in result.output
    assert "Checked: 69 whole tasks of the 1,000 published ones in 2 regions, 1,104 images read." in result.output
    assert "checksums are not published" in result.output


def test_a_damaged_image_and_a_damaged_archive_of_tasks_are_named(tasks: Path) -> None:
    with zipfile.ZipFile(tasks / "fall_122.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    victim = next(name for name in content if "/query/" in name)
    content[victim] = content[victim][:100]
    with zipfile.ZipFile(tasks / "fall_122.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    cut = tasks / "winter_130.zip"
    cut.write_bytes(cut.read_bytes()[:10_000])
    with zipfile.ZipFile(tasks / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "no tasks here")
    found = verify(read_manifest("sen12ms-tasks"), tasks)
    named = {problem.path: problem.detail for problem in found.problems[1:]}
    assert victim in found.problems[0].detail
    assert "winter_130.zip is not a readable zip archive" in named["winter_130.zip"]
    assert "no task in" in named["other.zip"]
    assert found.regions == {"fall_122": 37}
