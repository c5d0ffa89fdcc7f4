"""Maps whose process is killed at any moment, again and again."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.kills import FIFTY, finish_with_kills
from tests.mapping.conftest import ROOT, Case

FILES = ("map.tif", "map_confidence.tif", "map_probabilities.tif")
SECONDS_A_CALL = 0.05
SCRIPT = """
import sys
from pathlib import Path

from fewshot.mapping.predict import layout
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.region_map import map_scene
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.fakes import FakePredictor

layout._GROUP_BYTES = 4 * 5 * 30 * 30
scene, labels, to, seconds, resume = sys.argv[1:]
model = FakePredictor(seconds=float(seconds))
request = MapRequest(
    scenes=(scene,),
    to=Path(to),
    labels=LabelPlan(Path(labels)),
    windows=WindowPlan(size=16, overlap=5),
    probabilities=True,
    resume=resume == "True",
)
map_scene(model, run_here(model), request)
"""


def work_folder(to: Path) -> Path:
    return to.with_name(f".{to.name}.work")


def groups_done(to: Path) -> int:
    return len(list((work_folder(to) / "groups").glob("*.npz")))


def start(case: Case, to: Path, seconds: float = SECONDS_A_CALL) -> subprocess.Popen:
    words = [str(word) for word in (case.scene, case.labels, to, seconds, work_folder(to).is_dir())]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *words], cwd=ROOT)


@pytest.mark.slow
def test_maps_that_are_killed_fifty_times_are_the_same_to_the_bit(case: Case, tmp_path: Path) -> None:
    """While they begin, predict, and are put together; each goes on where it was, until it is whole."""
    dice = random.Random(1)
    assert start(case, tmp_path / "whole" / "map.tif", 0.0).wait(120) == 0
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in FILES}
    kills, maps = 0, 0
    while kills < FIFTY:
        maps += 1
        to = tmp_path / str(maps) / "map.tif"
        kills += finish_with_kills(partial(start, case, to), partial(groups_done, to), dice, beginning=2.0)
        assert {name: (to.parent / name).read_bytes() for name in FILES} == whole
        assert not work_folder(to).exists()
