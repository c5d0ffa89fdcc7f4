"""What the server answers, and whom it does not."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fewshot.commands.label import LabelOptions, announce
from fewshot.errors import ArtifactError, DataNotFoundError, RecipeError
from fewshot.geo.windows import Window
from fewshot.label.app import MOST_JSON
from fewshot.label.desk import Desk, open_desk
from fewshot.label.guard import HEADERS, PageGuard, read_origin
from fewshot.label.plan import ProjectPlan
from tests.label.conftest import add_class, add_point, labelled
from tests.mapping import fakes

EDITS = {"edits": [add_class("water", 0), add_point("l0", 0, 3.5, 4.5)]}
WRITES = (
    "/api/edits",
    "/api/undo",
    "/api/redo",
    "/api/view",
    "/api/suggest",
    "/api/jobs",
    "/api/import",
)
READS = ("/", "/api/project", "/api/events", "/api/panel", "/api/command", "/api/jobs", "/tiles/scene/0/0/0.png")


def test_nobody_reads_without_the_token(stranger: httpx.Client) -> None:
    port = stranger.base_url.port
    for path in (*READS, "/static/index.html", "/files/x", "/nothing"):
        for address in (path, f"{path}?token=", f"{path}?token=guessed"):
            assert stranger.get(address).status_code == 403, address
        assert stranger.get(path, headers={"Cookie": f"fewshot-{port}=guessed"}).status_code == 403, path


def test_nobody_writes_from_another_page(page: httpx.Client, desk: Desk) -> None:
    own = page.headers.pop("Origin")
    pages: tuple[dict[str, str], ...] = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": own, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    )
    for path in WRITES:
        for headers in pages:
            assert page.post(path, json=EDITS, headers=headers).status_code == 403, (path, headers)
    assert desk.log.revision == 0
    assert page.post("/api/edits", json=EDITS, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_server_that_is_called_by_another_name_does_not_answer(page: httpx.Client) -> None:
    assert page.get("/api/project", headers={"Host": "evil.example"}).status_code == 403
    assert page.get("/api/project").status_code == 200


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_see(
    stranger: httpx.Client, guard: PageGuard
) -> None:
    answer = stranger.get("/", params={"token": guard.token})
    assert guard.token not in answer.text and 'content="0; url=/"' in answer.text
    words = {word.strip().lower() for word in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict"} <= words


@pytest.mark.parametrize(
    ("host", "origin", "called", "asked_from", "answered"),
    [
        ("127.0.0.1", "", "localhost:80", "http://localhost:80", 200),
        ("127.0.0.1", "", "127.0.0.1:80", "http://localhost:80", 403),
        ("127.0.0.1", "", "machine:80", "http://machine:80", 403),
        ("0.0.0.0", "", "machine:80", "http://machine:80", 200),
        ("0.0.0.0", "", "machine:80", "http://evil.example", 403),
        ("127.0.0.1", "https://label.example.org", "label.example.org", "https://label.example.org", 200),
        ("127.0.0.1", "https://label.example.org", "label.example.org", "http://label.example.org", 403),
        ("127.0.0.1", "https://label.example.org", "127.0.0.1:80", "http://127.0.0.1:80", 403),
    ],
)
def test_by_which_names_a_server_is_called(host: str, origin: str, called: str, asked_from: str, answered: int) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("in")(scope, receive, send)

    async def ask() -> tuple[int, str]:
        guard = PageGuard(application, host=host, port=80, origin=origin)
        transport = httpx.ASGITransport(app=guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://any", headers={"Host": called}) as client:
            welcome = await client.get("/", params={"token": guard.token})
            headers = {"Origin": asked_from, "Cookie": f"fewshot-80={guard.token}"}
            answer = await client.post("/api/undo", headers=headers)
            return answer.status_code, welcome.headers.get("set-cookie", "")

    found, cookie = asyncio.run(ask())
    assert found == answered
    assert ("Secure" in cookie) == (bool(origin) and called == "label.example.org")


def test_every_answer_says_what_a_page_may_do(page: httpx.Client) -> None:
    for path in ("/api/project", "/nothing", "/tiles/scene/0/0/0.png", "/?token=wrong"):
        answer = page.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS), path


def test_no_path_of_the_browser_is_opened(page: httpx.Client) -> None:
    for path in ("../state.py", "..%2fstate.py", "%2e%2e/state.py", "/etc/passwd", ""):
        for folder in ("/static/", "/files/", "/api/export/"):
            assert page.get(f"{folder}{path}").status_code == 404, (folder, path)


def test_a_body_that_is_too_large_or_no_json_is_refused(page: httpx.Client) -> None:
    json_type = {"Content-Type": "application/json"}
    assert page.post("/api/edits", content=b" " * (MOST_JSON + 1), headers=json_type).status_code == 413
    assert page.post("/api/edits", content=b"{", headers=json_type).status_code == 400
    assert page.post("/api/edits", content=b"[" * 100_000, headers=json_type).status_code == 400
    assert page.post("/api/edits", content=json.dumps(EDITS), headers={"Content-Type": "text/plain"}).status_code == 415


def test_edits_are_answered_with_the_project(page: httpx.Client) -> None:
    first = page.post("/api/edits", json=EDITS).json()
    assert first == page.get("/api/project").json()
    assert (first["revision"], first["counts"], first["can_undo"], first["can_redo"]) == (1, {"c0": 1}, True, False)
    (label,) = first["labels"]
    assert label == {"id": "l0", "class": "c0", "kind": "point", "coordinates": [3.5, 4.5], "width": 0.0}
    undone = page.post("/api/undo", json={}).json()
    assert (undone["labels"], undone["can_redo"]) == ([], True)
    assert page.post("/api/redo", json={}).json()["labels"] == [label]
    refused = page.post("/api/edits", json={"edits": [{"op": "delete_class", "id": "gone"}]})
    assert (refused.status_code, refused.json()["error"].startswith("there is no class 'gone'")) == (400, True)


def test_the_scene_is_described(page: httpx.Client) -> None:
    scene = page.get("/api/project").json()["scene"]
    assert (scene["height"], scene["width"], scene["levels"], scene["crs"]) == (90, 70, 1, "EPSG:32633")
    assert [band["name"] for band in scene["bands"]] == ["B4", "B8"]
    assert scene["pixel_size"] == pytest.approx([30, 20])


def test_bands_are_called_as_the_user_says(open_project: Callable[..., Desk], scene: Path) -> None:
    shown = open_project(bands="green,nir").document()["scene"]["bands"]
    assert [(own["name"], own["wavelength"]) for own in shown] == [("green", 560), ("nir", 842)]
    for which in ("2,1", "red"):  # of a model's bands; and of too few, which the map refuses
        shown = open_project(which, bands=which).document()["scene"]["bands"]
        assert [own["name"] for own in shown] == ["B4", "B8"]


def test_pages_hear_of_what_other_pages_do(page: httpx.Client) -> None:
    with page.stream("GET", "/api/events") as heard:
        lines = heard.iter_lines()
        assert next(lines) == ": open"
        page.post("/api/edits", json=EDITS)
        said = next(line for line in lines if line.startswith("data: "))
    assert json.loads(said[6:]) == {"type": "state", "revision": 1}


def test_tiles_show_the_bands_that_are_asked_for(page: httpx.Client, desk: Desk) -> None:
    query = {"bands": "2,1,1", "low": "0,0,0", "high": "4000,2550,2550", "gamma": "1"}
    pictures = []
    for ending in ("png", "webp"):
        answer = page.get(f"/tiles/scene/0/0/0.{ending}", params=query)
        assert answer.headers["content-type"] == f"image/{ending}"
        pictures.append(np.asarray(Image.open(io.BytesIO(answer.content))))
    picture = pictures[0]
    assert np.array_equal(picture[:90, :70], pictures[1][:90, :70])
    pixels, _ = desk.pictures.read(Window(0, 0, 90, 70), (2, 1), 1)
    assert picture.shape == (256, 256, 4)
    assert np.array_equal(picture[:90, :70, 1], np.round(np.clip(pixels[..., 1] / 2550, 0, 1) * 255))
    assert picture[:90, :70, 3].all() and not picture[90:, :, 3].any() and not picture[:, 70:, 3].any()
    assert page.get("/tiles/scene/0/1/0.png").status_code == 404
    assert page.get("/tiles/scene/9/0/0.png").status_code == 404
    assert page.get("/tiles/scene/0/0/0.gif").status_code == 404
    for wrong in ({"bands": "3", "low": "0", "high": "1"}, {"bands": "x", "low": "0", "high": "1"}, {"bands": "1"}):
        assert page.get("/tiles/scene/0/0/0.png", params=wrong).status_code == 400


def test_a_project_is_open_once(open_project: Callable[..., Desk]) -> None:
    open_project("one")
    with pytest.raises(ArtifactError, match="open in another"):
        open_project("one")
    assert open_project("two").log.revision == 0


def test_a_project_is_of_one_scene(tmp_path: Path, scene: Path) -> None:
    other = fakes.write_scene(
        tmp_path / "other.tif", fakes.draw_pixels(fakes.draw_truth(40, 40)), fakes.grid_of(40, 40)
    )
    with open_desk(ProjectPlan((str(scene),), tmp_path / "project")):
        pass
    with (
        pytest.raises(ArtifactError, match="labels of another scene"),
        open_desk(ProjectPlan((str(other),), tmp_path / "project")),
    ):
        pass


def test_labels_and_classes_to_begin_with(
    open_project: Callable[..., Desk], tmp_path: Path, desk: Desk, truth: np.ndarray
) -> None:
    desk.edit(labelled(truth))
    desk.write_files(desk.log.state, tmp_path)
    begun = open_project("begun", labels=tmp_path / "labels.gpkg", classes=tmp_path / "classes.csv")
    state = begun.log.state
    assert [(own.name, own.colour) for own in state.classes.values()] == [
        (own.name, own.colour) for own in desk.log.state.classes.values()
    ]
    assert list(state.counts.values()) == [8, 8, 8]


def test_labels_that_cannot_be_read_leave_the_project_unbegun(
    open_project: Callable[..., Desk], tmp_path: Path, desk: Desk, truth: np.ndarray
) -> None:
    desk.edit(labelled(truth))
    desk.write_files(desk.log.state, tmp_path)
    with pytest.raises(DataNotFoundError):
        open_project("begun", labels=tmp_path / "label.gpkg", classes=tmp_path / "classes.csv")
    begun = open_project("begun", labels=tmp_path / "labels.gpkg", classes=tmp_path / "classes.csv")
    assert (len(begun.log.state.labels), begun.log.revision) == (24, 1)


def test_a_change_that_is_sent_again_is_done_once(page: httpx.Client) -> None:
    for number in range(3):
        page.post("/api/edits", json={"edits": [add_class(f"a{number}", number)], "sent": f"e{number}"})
    first, again = (page.post("/api/undo", json={"sent": "u"}).json() for _ in range(2))
    assert (first, len(again["classes"])) == (again, 2)
    assert page.post("/api/undo", json={"sent": 1}).status_code == 400


def test_changes_do_not_wait_for_tiles(page: httpx.Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    page.get("/api/project")
    go_on = threading.Event()
    monkeypatch.setattr(desk.pictures, "tile", lambda *asked: go_on.wait(20) and None)
    with ThreadPoolExecutor(8) as browser:
        tiles = [browser.submit(page.get, "/tiles/scene/0/0/0.png") for _ in range(8)]
        try:
            assert page.post("/api/edits", json=EDITS, timeout=10).status_code == 200
        finally:
            go_on.set()
    assert {tile.result().status_code for tile in tiles} == {404}


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://Label.example.org:443/", "https://label.example.org"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://label.example.org:8443", "https://label.example.org:8443"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(text: str, origin: str) -> None:
    assert read_origin(text) == origin


@pytest.mark.parametrize(
    "text", ["label.example.org", "ftp://x", "https://x/page", "https://x:y", "https://", "https://u@x"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--origin is"):
        read_origin(text)


def test_the_token_is_in_no_process_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    monkeypatch.setattr("click.launch", launched.append)
    (tmp_path / "open.html").write_text("old")
    options: dict[str, Any] = dict.fromkeys((own.name for own in fields(LabelOptions)), "")
    options |= {"host": "127.0.0.1", "browser": True}
    announce("http://127.0.0.1:1/?token=secret", LabelOptions(**options), tmp_path)
    assert launched == [(tmp_path / "open.html").as_uri()]
    assert (tmp_path / "open.html").stat().st_mode & 0o777 == 0o600
    assert "url=http://127.0.0.1:1/?token=secret" in (tmp_path / "open.html").read_text()
