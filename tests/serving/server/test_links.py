"""A folder of models that is not in the user's home may be another's to write: its links are not followed out of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tensorflow_serving.apis import model_pb2

from fewshot.exported.status import StatusError
from serving.server.config import single_model_config
from serving.server.flags import read_flags
from serving.server.links import link_out, require_inside
from serving.server.loading import LoadOptions, load_version
from serving.server.servables import Servable
from serving.server.versions import Versions
from tests.serving.server.test_versions import served


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base path with version 1; the user's home is elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    version = tmp_path / "srv" / "m" / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"a graph")
    return version.parent


def test_what_links_lead_to(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    shutil.copytree(base / "1", secret / "1")
    (base / "2").symlink_to("1")
    (base / "3").symlink_to(secret / "1")
    (base / "4").mkdir()
    (base / "4" / "saved_model.pb").symlink_to(secret / "1" / "saved_model.pb")
    (base / "5").mkdir()
    (base / "5" / "variables").symlink_to("../6")  # and there, a link out
    (base / "6").mkdir()
    (base / "6" / "variables.index").symlink_to("../../../secret")
    (base / "7").symlink_to("7")
    (base / "8").mkdir()
    (base / "8" / "again").symlink_to("../8")
    found = {number: link_out(base, base / str(number)) for number in range(1, 9)}
    assert {number for number, link in found.items() if link is not None} == {3, 4, 5, 6}
    assert found[4] == base / "4" / "saved_model.pb"
    (tmp_path / "elsewhere").symlink_to(base)
    assert link_out(tmp_path / "elsewhere", tmp_path / "elsewhere" / "1") is None, "the base path is the user's word"
    with pytest.raises(StatusError, match="4/saved_model.pb leads out of .*m, and links") as refused:
        require_inside(base, base / "4")
    assert refused.value.code == "PERMISSION_DENIED"
    monkeypatch.setenv("HOME", str(base.parent))
    assert link_out(base, base / "3") is None, "in the home, links are the user's own"
    monkeypatch.setenv("HOME", "/")
    assert link_out(base, base / "3") == base / "3", "the home of some daemons is no home"


def test_a_version_that_links_lead_out_of_is_never_opened(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def graph(folder: Path, _: tuple[str, ...]) -> None:
        opened.append(folder)

    monkeypatch.setattr("serving.server.loading.Graph", graph)
    shutil.move(base / "1", tmp_path / "secret")
    (base / "2").symlink_to(tmp_path / "secret")
    with pytest.raises(StatusError, match="2 leads out of"):
        load_version("m", 2, base / "2", LoadOptions())
    assert not opened
    (base / "2").unlink()
    shutil.copytree(tmp_path / "secret", base / "2")
    load_version("m", 2, base / "2", LoadOptions())
    assert opened == [base / "2"]


def test_it_is_looked_at_once_and_again_when_it_is_mended(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def load(name: str, version: int, folder: Path) -> Servable:
        tried.append(folder)
        require_inside(folder.parent, folder)
        return Servable(name, version, graph=None)  # type: ignore[arg-type]

    monkeypatch.setattr(Servable, "retire", lambda _: None)
    versions = Versions(load, poll_seconds=0)
    versions.start(single_model_config({"m": base}))
    shutil.copytree(base / "1", tmp_path / "secret")
    (base / "2").symlink_to(tmp_path / "secret")
    for _ in range(3):
        versions.poll()
    assert tried == [base / "1", base / "2"]
    assert served(versions) == [1]
    assert versions.states(model_pb2.ModelSpec(name="m"))[2].code == "PERMISSION_DENIED"
    (base / "2").unlink()
    shutil.copytree(tmp_path / "secret", base / "2")
    versions.poll()
    assert served(versions) == [2]
    versions.stop()


def test_models_of_a_folder_that_lie_elsewhere_are_named_not_served(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "1").mkdir(parents=True)
    (base.parent / "other").symlink_to(tmp_path / "other")
    with pytest.raises(StatusError, match="srv/other leads out of .*srv, and links"):
        read_flags(base.parent, {})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert set(read_flags(base.parent, {}).models) == {"m", "other"}
