import io
import itertools
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.region import RegionSet
from fewshot.data.sources.task_archives import read_task_archives
from fewshot.errors import DamagedDataError, DataNotFoundError
from fewshot.geo.landcover import IGBP
from fewshot.tasks.task import gather

Write = Callable[..., Path]
CLASSES = ("Forests", "Urban_Build-up", "Water")


def picture(value: int, *, size: int = 8) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 255 - value)).save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def members() -> dict[str, bytes]:
    """Two tasks, 3-way 2-shot, of one region; an image's red is 10 times its class."""
    made = {}
    for task, side, j in itertools.product((1, 2), ("support", "query"), (0, 1)):
        for k, name in enumerate(CLASSES if task == 1 else CLASSES[::-1]):
            patch = f"p{100 * task + 10 * k + j}{'tl' if side == 'query' else 'br'}"
            made[f"task_{task:04d}/{side}/{k}_{name}_{j}_{patch}.png"] = picture(10 * CLASSES.index(name))
    return made


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(scope="module")
def real(sen12ms_root: Path) -> RegionSet:
    return read_task_archives(
        [sen12ms_root / f"{name}.zip" for name in ("fall_122", "spring_122", "winter_103")], size=32
    )


@pytest.mark.slow
def test_all_real_tasks_are_read(sen12ms_root: Path) -> None:
    real = read_task_archives([sen12ms_root], size=32)
    assert len(real.fixed_tasks) == 819
    assert len(real.regions) == 18
    assert len({region.place for region in real.regions}) == 10
    assert len(real.store.names) == 819 * 16
    assert real.skipped == ()
    assert all(len(task.support) == len(task.query) == 8 for task in real.fixed_tasks)
    assert all(task.support_y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] for task in real.fixed_tasks)
    assert real.classes == IGBP.names
    counts = Counter(name for task in real.fixed_tasks for name in task.classes)
    assert counts["Urban_Build-up"] == 2460 // 4
    assert counts["Snow_Ice"] == 0


def test_real_global_labels_agree_with_the_file_names(real: RegionSet) -> None:
    assert real.region_names == ("fall_122", "spring_122", "winter_103")
    tasks = real.fixed_tasks[::30]
    batch = gather(real, tasks, labels="global")
    for task, labels in zip(tasks, batch.query_y, strict=True):
        for image, label in zip(task.query, labels, strict=True):
            assert f"_{IGBP.names[label]}_" in real.store.names[image]


def test_real_pixels_are_those_of_the_file(sen12ms_root: Path) -> None:
    read = read_task_archives([sen12ms_root / "fall_122.zip"])
    assert read.region_names == ("fall_122",)
    assert read.store.shape == (64, 64, 3)
    name = read.store.names[77]
    with zipfile.ZipFile(sen12ms_root / "fall_122.zip") as archive, archive.open(name.split("/", 1)[1]) as file:
        expected = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255
    np.testing.assert_allclose(read.store.read([77])[0], expected, atol=1e-6)


def test_real_truncated_image_is_named_or_costs_one_task(sen12ms_root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(sen12ms_root / "fall_122.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist() if name.startswith("task_00")}
    victim = next(name for name in content if "/support/2_" in name)
    content[victim] = content[victim][: len(content[victim]) // 2]
    path = write_zip(tmp_path / "fall_122.zip", content)
    with pytest.raises(DamagedDataError) as caught:
        read_task_archives([path])
    assert f"{path}: {victim}" in str(caught.value)
    assert 'on_damaged = "skip"' in str(caught.value)
    read = read_task_archives([path], on_damaged="skip")
    assert len(read.store.names) == len(content) - 1
    assert len(read.fixed_tasks) == len(content) // 16 - 1
    assert f"fall_122/{victim.split('/')[0]}" not in {task.name for task in read.fixed_tasks}
    assert len(read.skipped) == 2  # the image, and the task that lost it


def test_tasks_regions_and_sources(tmp_path: Path, members: dict[str, bytes]) -> None:
    read = read_task_archives([write_zip(tmp_path / "spring_122.zip", members)])
    assert [task.name for task in read.fixed_tasks] == ["spring_122/task_0001", "spring_122/task_0002"]
    assert [task.classes for task in read.fixed_tasks] == [CLASSES, CLASSES[::-1]]
    (region,) = read.regions
    assert (region.name, region.place, region.class_names) == ("spring_122", "122", CLASSES)
    for image, label, source in zip(region.images, region.labels, region.sources, strict=True):
        name = read.store.names[image]
        assert f"_{CLASSES[label]}_" in name
        assert f"_p{source}" in name
        assert round(float(read.store.read([image])[0, 0, 0, 0]) * 255) == 10 * label
    # A patch keeps its number whichever its quadrant.
    assert sorted(Counter(region.sources.tolist()).values()) == [2] * 12


@pytest.mark.parametrize("kind", ["folder of zips", "extracted", "twice"])
def test_task_archive_layouts(tmp_path: Path, members: dict[str, bytes], kind: str) -> None:
    path = write_zip(tmp_path / "spring_122.zip", members)
    paths = [path, path] if kind == "twice" else [tmp_path]
    if kind == "extracted":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "all" / "spring_122")
        paths = [tmp_path / "all"]
    read = read_task_archives(paths)
    assert read.region_names == ("spring_122",)
    assert len(read.fixed_tasks) == 2


def game(members: dict[str, bytes], root: Path) -> Path:
    """Write the tasks as the survey game does."""
    for name, data in members.items():
        task, side, file = name.split("/")
        number, rest = file.removesuffix(".png").split("_", 1)
        class_name, shot, patch = rest.rsplit("_", 2)
        folder = root / str(int(task[5:])) / ("train" if side == "support" else "test")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}-{shot}.png").write_bytes(data)
        with (folder / "meta.txt").open("a") as file_:
            file_.write(f"{number} {shot} spring/122/{class_name}/{patch}\n")
    return root


def test_the_survey_games_layout_gives_the_same_set(tmp_path: Path, members: dict[str, bytes]) -> None:
    ours = read_task_archives([write_zip(tmp_path / "spring_122.zip", members)])
    theirs = read_task_archives([game(members, tmp_path / "app/static/img")])
    assert set(theirs.store.names) == set(ours.store.names)
    assert theirs.region_names == ours.region_names
    for a, b in zip(ours.fixed_tasks, theirs.fixed_tasks, strict=True):
        assert (a.name, a.classes) == (b.name, b.classes)
        assert [ours.store.names[i] for i in a.query] == [theirs.store.names[i] for i in b.query]
        np.testing.assert_array_equal(a.query_y, b.query_y)


def test_the_survey_games_missing_and_unlisted_images(tmp_path: Path, members: dict[str, bytes]) -> None:
    root = game(members, tmp_path / "img")
    (root / "1/train/0-1.png").unlink()
    (root / "2/test/meta.txt").write_text("0 0 spring_122 Water\n")
    with pytest.raises(DamagedDataError, match="1/train/meta.txt lists image 0-1.png"):
        read_task_archives([root])
    read = read_task_archives([root], on_damaged="skip")
    assert read.fixed_tasks == ()
    assert any("2/test/meta.txt has the line '0 0 spring_122 Water'" in line for line in read.skipped)


def test_a_class_without_queries_is_named(tmp_path: Path, members: dict[str, bytes]) -> None:
    kept = {name: data for name, data in members.items() if not name.startswith("task_0002/query/1_")}
    path = write_zip(tmp_path / "spring_122.zip", kept)
    with pytest.raises(DamagedDataError, match="spring_122/task_0002 has no query image of class 1 Urban_Build-up"):
        read_task_archives([path])
    read = read_task_archives([path], on_damaged="skip")
    assert [task.name for task in read.fixed_tasks] == ["spring_122/task_0001"]


def test_an_image_of_another_size_is_named(tmp_path: Path, members: dict[str, bytes]) -> None:
    victim = next(iter(members))
    path = write_zip(tmp_path / "spring_122.zip", {**members, victim: picture(0, size=9)})
    for size in (None, 4):
        with pytest.raises(DamagedDataError, match=f"{victim} is 9x9 pixels.*expected 8x8"):
            read_task_archives([path], size=size)
    assert len(read_task_archives([path], on_damaged="skip").fixed_tasks) == 1


def test_no_task_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="expected <season>_<region>.zip"):
        read_task_archives([write_zip(tmp_path / "x.zip", {"readme.txt": b""})])
    with pytest.raises(DataNotFoundError, match="no path"):
        read_task_archives([])
