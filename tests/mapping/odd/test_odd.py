"""Odd requests: each maps, or ends with one sentence and exit code 1 or 2; at once, and leaving nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import rasterio
from click.testing import CliRunner

from cli import main
from tests.mapping.odd import labels, options, scenes

CASES = {
    f"{kind}: {name}": case
    for kind, cases in (
        ("scene", scenes.CASES),
        ("labels", labels.CASES),
        ("options", options.CASES),
    )
    for name, case in cases.items()
}
SECONDS = 180

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends what takes too long, wherever it is in Python."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no end within {SECONDS} seconds")

    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "5")
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", CASES)
def test_an_odd_request_maps_or_says_why_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = CASES[name](tmp_path)
    before = set(tmp_path.rglob("*"))
    done = CliRunner().invoke(main, asked.words())
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    made = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    if "go on with --resume" in done.output:  # what is finished is kept, in the map's own folder
        made = {path for path in made if ".map.tif.work" not in path.parts}
    assert not [path for path in made if ".work" in str(path) or path.name.startswith(".partial")]
    if done.exit_code == 0:
        maps = [path for path in made if path.suffix.lower() in (".tif", ".tiff")]
        assert maps, done.output
        for path in maps:
            with rasterio.open(path) as raster:
                raster.read()
    else:
        assert done.exit_code in (1, 2)
        said = done.output.strip().splitlines()
        (error,) = [line for line in said if line.startswith(("Error:", "Usage:"))][-1:]
        assert len(done.output) < 3000 and "Traceback" not in done.output
        assert len(error) > 20
        assert not made


def test_there_are_as_many_as_were_tried_by_hand() -> None:
    assert len(CASES) >= 388
