"""Downloads, from a small server on this machine that can drop connections, change files and refuse ranges."""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from fewshot.data.catalogue.fetch import fetch
from fewshot.data.catalogue.manifest import Manifest, read_manifest
from fewshot.errors import DamagedDataError, DataNotFoundError
from tests.data.catalogue.file_server import CONTENT, Handler, Server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"server_state": made}))
    made.url = f"http://127.0.0.1:{http.server_address[1]}/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.go_on.set()
    http.shutdown()
    http.server_close()
    thread.join()


Make = Callable[..., Path]


@pytest.fixture
def manifest_file(server: Server, tmp_path: Path) -> Make:
    """Writes a manifest of CONTENT; `digests` and `sizes` say whether they are published."""

    def make(*, digests: bool = True, sizes: bool = True, names: tuple[str, ...] = tuple(CONTENT)) -> Path:
        text = (
            f'title = "Mine"\nlicence = "CC0"\ncitation = "C"\nhomepage = "{server.url}"\nbase_url = "{server.url}"\n'
        )
        for name in names:
            size: object = len(CONTENT[name]) if sizes else '"not published"'
            digest = hashlib.sha256(CONTENT[name]).hexdigest() if digests else "not published"
            text += f'[[files]]\npath = "{name}"\nbytes = {size}\nsha256 = "{digest}"\n'
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.fixture
def mine(manifest_file: Make) -> Manifest:
    return read_manifest(manifest_file())


@pytest.fixture
def one(manifest_file: Make) -> Manifest:
    return read_manifest(manifest_file(names=("one.zip",)))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["data", *map(str, arguments)])


def assert_kind(result: Result) -> None:
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output


def test_files_are_fetched_checked_and_left_alone_the_next_time(
    server: Server, manifest_file: Make, tmp_path: Path
) -> None:
    path, folder = manifest_file(), tmp_path / "new" / "folder"
    result = run("fetch", path, "--to", folder)
    assert result.exit_code == 0, result.output
    for name, content in CONTENT.items():
        assert (folder / name).read_bytes() == content
        assert f"{folder / name}: fetched, sha256 as published" in result.output
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["one.zip", "two.bin"]
    assert len(server.asked) == 2
    again = run("fetch", path, "--to", folder)
    assert again.exit_code == 0
    assert f"{folder / 'one.zip'}: already here" in again.output
    assert len(server.asked) == 2
    assert run("verify", path, folder).exit_code == 0


def test_a_dropped_connection_leaves_what_came_for_the_next_try(
    server: Server, manifest_file: Make, tmp_path: Path
) -> None:
    server.drop_after = 100_000
    path, part = manifest_file(names=("one.zip",)), tmp_path / "to" / "one.zip.part"
    result = run("fetch", path, "--to", tmp_path / "to")
    assert_kind(result)
    assert f"100,000 bytes are kept in {part}" in result.output
    assert "Give the same command again" in result.output
    assert part.read_bytes() == CONTENT["one.zip"][:100_000]
    assert not (tmp_path / "to" / "one.zip").exists()
    assert "an unfinished download is here" in run("verify", path, tmp_path / "to").output
    assert_kind(run("fetch", path, "--to", tmp_path / "to"))
    server.drop_after = None
    assert run("fetch", path, "--to", tmp_path / "to").exit_code == 0
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=200000-"]
    assert (tmp_path / "to" / "one.zip").read_bytes() == CONTENT["one.zip"]
    assert not part.exists()


def test_a_killed_download_goes_on(server: Server, manifest_file: Make, tmp_path: Path) -> None:
    path, part = manifest_file(names=("one.zip",)), tmp_path / "to" / "one.zip.part"
    server.stall_after = 150_000
    command = [sys.executable, "-m", "cli", "data", "fetch", str(path), "--to", str(tmp_path / "to")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < limit:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    received = part.stat().st_size
    assert 0 < received <= 150_000
    server.stall_after = None
    server.go_on.set()
    fetch(read_manifest(path), tmp_path / "to")
    assert server.asked[-1] == ("one.zip", f"bytes={received}-")
    assert (tmp_path / "to" / "one.zip").read_bytes() == CONTENT["one.zip"]


def leave_part(folder: Path, content: bytes, name: str = "one.zip") -> Path:
    part = folder / f"{name}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    return part


def test_a_server_without_ranges_sends_all_again(server: Server, one: Manifest, tmp_path: Path) -> None:
    server.ranges = False
    leave_part(tmp_path, CONTENT["one.zip"][:1000])
    fetch(one, tmp_path)
    assert server.asked == [("one.zip", "bytes=1000-")]
    assert (tmp_path / "one.zip").read_bytes() == CONTENT["one.zip"]


@pytest.mark.parametrize("sizes", [True, False])
def test_a_part_that_is_whole_only_wants_checking(
    server: Server, manifest_file: Make, tmp_path: Path, sizes: bool
) -> None:
    leave_part(tmp_path, CONTENT["one.zip"])
    fetch(read_manifest(manifest_file(sizes=sizes, names=("one.zip",))), tmp_path)
    assert len(server.asked) == (0 if sizes else 1)
    assert (tmp_path / "one.zip").read_bytes() == CONTENT["one.zip"]


@pytest.mark.parametrize("sizes", [True, False])
def test_a_part_that_is_too_long_is_begun_anew(
    server: Server, manifest_file: Make, tmp_path: Path, sizes: bool
) -> None:
    leave_part(tmp_path, CONTENT["one.zip"] + b"more")
    fetch(read_manifest(manifest_file(sizes=sizes, names=("one.zip",))), tmp_path)
    assert server.asked[-1] == ("one.zip", None)
    assert (tmp_path / "one.zip").read_bytes() == CONTENT["one.zip"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("change", ["changed", "short", "long"])
def test_a_file_that_is_not_the_published_one_is_refused(
    server: Server, one: Manifest, tmp_path: Path, change: str, chunked: bool
) -> None:
    whole = CONTENT["one.zip"]
    sent = {"changed": b"x" + whole[1:], "short": whole[:-1], "long": whole + b"x"}[change]
    server.files["one.zip"], server.chunked = sent, chunked
    with pytest.raises(DamagedDataError) as caught:
        fetch(one, tmp_path)
    message = str(caught.value)
    for digest in (hashlib.sha256(whole).hexdigest(), hashlib.sha256(sent).hexdigest()):
        assert digest in message
    assert ("truncated" if change == "short" else "altered") in message
    if change != "changed":
        assert f"expected 300,000 bytes, received {len(sent):,}" in message
    assert list(tmp_path.glob("one.zip*")) == [], "what can never be completed is not kept"
    server.files["one.zip"] = whole
    fetch(one, tmp_path)


def test_a_resumed_file_that_changed_meanwhile_is_refused_by_its_checksum(
    server: Server, one: Manifest, tmp_path: Path
) -> None:
    leave_part(tmp_path, b"x" * 1000)
    with pytest.raises(DamagedDataError, match="expected sha256"):
        fetch(one, tmp_path)
    assert list(tmp_path.glob("one.zip*")) == []


def test_without_a_checksum_the_etag_tells_whether_a_part_may_be_gone_on_with(
    server: Server, manifest_file: Make, tmp_path: Path
) -> None:
    manifest = read_manifest(manifest_file(digests=False, sizes=False, names=("one.zip",)))
    server.etag, server.drop_after = '"first"', 1000
    with pytest.raises(DataNotFoundError):
        fetch(manifest, tmp_path)
    with pytest.raises(DataNotFoundError):
        fetch(manifest, tmp_path)
    assert (tmp_path / "one.zip.part").stat().st_size == 2000, "unchanged: gone on with"
    server.etag, server.files["one.zip"], server.drop_after = '"second"', b"y" * 5000, None
    (fetched,) = fetch(manifest, tmp_path)
    assert (tmp_path / "one.zip").read_bytes() == b"y" * 5000, "changed: begun anew, not mixed"
    assert fetched.checked == "not checked: checksum not published"
    assert [path.name for path in tmp_path.glob("one.zip*")] == ["one.zip"]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_checksum_and_etag_a_part_is_begun_anew(
    server: Server, manifest_file: Make, tmp_path: Path, etag: str
) -> None:
    server.etag, server.drop_after = etag, 1000
    manifest = read_manifest(manifest_file(digests=False, sizes=False, names=("one.zip",)))
    with pytest.raises(DataNotFoundError):
        fetch(manifest, tmp_path)
    server.drop_after = None
    fetch(manifest, tmp_path)
    assert [wanted for _, wanted in server.asked] == [None, None]
    assert (tmp_path / "one.zip").read_bytes() == CONTENT["one.zip"]


def test_a_file_that_is_here_and_altered_is_named_and_not_touched(
    server: Server, one: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "one.zip").write_bytes(b"mine")
    with pytest.raises(DamagedDataError, match=r"one.zip is already here, but truncated: expected 300,000 bytes.*Move"):
        fetch(one, tmp_path)
    assert (tmp_path / "one.zip").read_bytes() == b"mine"
    assert server.asked == []


def test_chosen_files_alone(server: Server, manifest_file: Make, tmp_path: Path) -> None:
    path = manifest_file()
    assert run("fetch", path, "--to", tmp_path / "to", "--file", "two.*").exit_code == 0
    assert [name for name, _ in server.asked] == ["deep/two.bin"]
    assert run("verify", path, tmp_path / "to", "--file", "two.*").exit_code == 0
    assert run("verify", path, tmp_path / "to").exit_code == 1
    wrong = run("fetch", path, "--to", tmp_path / "to", "--file", "oen.zip")
    assert_kind(wrong)
    assert "Did you mean 'one.zip'" in wrong.output


def test_what_a_server_may_answer_instead(server: Server, one: Manifest, tmp_path: Path) -> None:
    for status in (403, 404, 503):
        server.status = status
        with pytest.raises(DataNotFoundError, match=rf"the server answers {status}. Look at http://127.*by hand to"):
            fetch(one, tmp_path)
    server.status, server.kind = 200, "text/html; charset=utf-8"
    with pytest.raises(DataNotFoundError, match="web page, perhaps to log in"):
        fetch(one, tmp_path)
    assert list(tmp_path.glob("one.zip*")) == []


def test_a_file_that_fails_does_not_keep_the_others_back(server: Server, mine: Manifest, tmp_path: Path) -> None:
    del server.files["one.zip"]
    with pytest.raises(DataNotFoundError, match=r"one.zip could not be fetched: the server answers 404"):
        fetch(mine, tmp_path)
    assert (tmp_path / "deep/two.bin").read_bytes() == CONTENT["deep/two.bin"]
    server.files["one.zip"] = b"other"
    (tmp_path / "deep/two.bin").write_bytes(b"altered")
    with pytest.raises(
        DamagedDataError, match=r"(?s)one.zip is not the published file.*\n.*two.bin is already here, but"
    ):
        fetch(mine, tmp_path)


def test_no_connection_is_a_kind_error(server: Server, manifest_file: Make, tmp_path: Path) -> None:
    path = manifest_file()
    path.write_text(path.read_text().replace(server.url, "http://127.0.0.1:9/"))
    result = run("fetch", path, "--to", tmp_path / "to")
    assert_kind(result)
    assert "http://127.0.0.1:9/one.zip could not be fetched" in result.output


def test_a_write_that_fails_leaves_what_came_for_the_next_try(server: Server, one: Manifest, tmp_path: Path) -> None:
    """As a full disk does: the system refuses to write more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    server.drop_after = 100_000
    with pytest.raises(DataNotFoundError, match="could not be fetched"):
        fetch(one, tmp_path)
    server.drop_after = None
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(DataNotFoundError, match="one.zip.part cannot be written: File too large. Make room"):
            fetch(one, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "one.zip.part").read_bytes() == CONTENT["one.zip"][:150_000]
    fetch(one, tmp_path)
    assert server.asked[-1] == ("one.zip", "bytes=150000-")
    assert (tmp_path / "one.zip").read_bytes() == CONTENT["one.zip"]


def test_too_little_room_is_said_before_the_download(
    server: Server, one: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = leave_part(tmp_path, CONTENT["one.zip"][:1000])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=298_999))
    with pytest.raises(DataNotFoundError, match="299,000 bytes are to come, 298,999 are free"):
        fetch(one, tmp_path)
    assert part.stat().st_size == 1000
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=299_000))
    fetch(one, tmp_path)


def test_a_folder_that_is_a_file_is_a_kind_error(one: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataNotFoundError, match="file cannot be written: File exists"):
        fetch(one, tmp_path / "file")


def test_progress_is_shown_in_a_terminal_only(
    server: Server, manifest_file: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = manifest_file(names=("one.zip",))
    silent = run("fetch", path, "--to", tmp_path / "a")
    assert "━" not in silent.stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    shown = run("fetch", path, "--to", tmp_path / "b")
    assert "one.zip" in shown.stderr
    assert "━" in shown.stderr
    assert "300.0" in shown.stderr
    assert "hashed" in run("verify", path, tmp_path / "b").stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deepglobe", ["log in and accept the", "{to}/train/<id>_mask.png", "research use"]),
        ("sen12ms", ["rsync -avP rsync://m1474000@dataserv.ub.tum.de/m1474000/ {to}", "ROIs2017_winter_lc.tar.gz"]),
        ("sen12ms-tasks", ["git clone https://github.com/MarcCoru/beat-the-maml {to}", "CC BY-NC-SA"]),
        ("synthetic", ["simulated", "fewshot data simulate --regions 24 --seed 0 --to {to}"]),
    ],
)
def test_what_no_program_may_fetch_is_explained(name: str, said: list[str], tmp_path: Path) -> None:
    to = tmp_path / "here"
    result = run("fetch", name, "--to", to)
    assert_kind(result)
    for words in said:
        assert words.format(to=to) in result.output
    if name != "synthetic":
        assert f"fewshot data verify {name} {to}" in result.output


def test_what_was_got_by_hand_is_not_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "119_sat.jpg").write_bytes(b"x")
    result = run("fetch", "deepglobe", "--to", tmp_path)
    assert result.exit_code == 0
    assert "the data in" in result.output
    (tmp_path / "ROIs1158_spring" / "s1_1").mkdir(parents=True)
    (tmp_path / "ROIs1158_spring_s2.tar.gz").write_bytes(b"x")
    result = run("fetch", "sen12ms", "--to", tmp_path)
    assert_kind(result)
    missing = next(line for line in result.output.splitlines() if line.startswith("Not there yet"))
    assert "spring_s1" not in missing
    assert "spring_s2" not in missing
    assert missing.count("tar.gz") == 10
