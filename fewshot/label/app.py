"""The page's addresses: what is asked for becomes a call of the desk, and what comes back JSON or a picture."""

from __future__ import annotations

import asyncio
import hashlib
import json
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fewshot.errors import FewshotError
from fewshot.geo.windows import Window
from fewshot.label.desk import EXPORTS, Desk
from fewshot.label.jobs import Job
from fewshot.label.library import library_files
from fewshot.label.painting import ENCODINGS
from fewshot.label.pictures import Look
from fewshot.label.plan import USUAL_SAMPLE

PAGE = Path(__file__).parent / "page"
MOST_JSON = 8 << 20
"""Bytes of a body of JSON."""
MOST_FILE = 64 << 20
"""Bytes of a file that is sent."""
_THREADS = 4  # that read the scene
_LONGEST_ID = 64

Made = TypeVar("Made")
Answer = Callable[[Request], Awaitable[Response]]


class PageApp:
    """Answers the page."""

    def __init__(self, desk: Desk) -> None:
        """Answer for a desk."""
        self.desk = desk
        self._library = library_files()
        self._readers = ThreadPoolExecutor(_THREADS, "tiles")
        # Of their own: no change and no map waits for a tile.
        self._writer, self._painter = ThreadPoolExecutor(1, "changes"), ThreadPoolExecutor(1, "maps")

    def starlette(self) -> Starlette:
        """Return the application."""
        reads: dict[str, Answer] = {
            "/": self.page,
            "/static/{path:path}": self.static,
            "/api/project": self.project,
            "/api/events": self.events,
            "/tiles/scene/{level:int}/{column:int}/{row:int}.{ending}": self.tile,
            "/live/{generation:int}/{stage}/{layer}.png": self.live,
            **{"/api/panel": self.panel, "/api/command": self.command, "/api/jobs": self.jobs},
            **{"/files/{id}": self.file, "/api/export/{name}": self.take_along},
        }
        writes: dict[str, Answer] = {
            **{"/api/edits": self.edits, "/api/undo": self.undo, "/api/redo": self.redo},
            **{"/api/view": self.view, "/api/suggest": self.suggest},
            **{"/api/jobs": self.start, "/api/jobs/{id}/cancel": self.cancel, "/api/jobs/{id}/resume": self.resume},
            **{"/api/import": self.bring_in, "/api/upload": self.upload},
        }
        return Starlette(
            routes=[
                *(Route(path, answer, methods=["GET"]) for path, answer in reads.items()),
                *(Route(path, answer, methods=["POST"]) for path, answer in writes.items()),
            ],
            exception_handlers={FewshotError: _refused, HTTPException: _failed},
        )

    async def page(self, request: Request) -> Response:
        """Answer with the page."""
        return _file(PAGE / "index.html", request)

    async def static(self, request: Request) -> Response:
        """Answer with one of the page's files, of those that there are."""
        own = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.is_file()}
        return _file((self._library | own).get(request.path_params["path"]), request)

    async def project(self, request: Request) -> Response:
        """Answer with the whole project."""
        return JSONResponse(await self._read(self.desk.document))

    async def edits(self, request: Request) -> Response:
        """Do a step."""
        body = await read_json(request)
        return await self._changed(lambda: self.desk.edit(body.get("edits", []), _sent(body)))

    async def undo(self, request: Request) -> Response:
        """Take a step back."""
        body = await read_json(request)
        return await self._changed(lambda: self.desk.undo(_sent(body)))

    async def redo(self, request: Request) -> Response:
        """Do a step again."""
        body = await read_json(request)
        return await self._changed(lambda: self.desk.redo(_sent(body)))

    async def events(self, request: Request) -> Response:
        """Tell the page what happens, as long as it listens."""
        return StreamingResponse(
            self.desk.events.listen(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def tile(self, request: Request) -> Response:
        """Answer with a tile of the scene; without a look in the query, in the usual one.

        Raises:
            HTTPException: if there is no such tile.
        """
        level, column, row = (request.path_params[name] for name in ("level", "column", "row"))
        encode = ENCODINGS.get(ending := request.path_params["ending"])
        look = _look(request)

        def draw() -> bytes | None:
            tile = self.desk.pictures.tile(level, column, row, look or self.desk.pictures.usual_look())
            return encode(tile) if encode is not None and tile is not None else None

        for strip in self.desk.pictures.waited_for(level, row):
            await asyncio.wrap_future(strip)  # holds no thread that other tiles want
        content = await self._read(draw)
        if content is None:
            raise HTTPException(404, "there is no such tile")
        return Response(content, media_type=f"image/{ending}", headers={"Cache-Control": "private, max-age=3600"})

    async def live(self, request: Request) -> Response:
        """Answer with a picture of the map that follows the labels.

        Raises:
            HTTPException: if it is gone.
        """
        live, asked = self.desk.live, [request.path_params[name] for name in ("generation", "stage", "layer")]
        png = await _in(self._painter, lambda: live.picture(*asked)) if live else None
        if png is None:
            raise HTTPException(404, "this picture is gone; a newer one is there, or comes")
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600, immutable"})

    async def view(self, request: Request) -> Response:
        """Take what the page shows of the scene.

        Raises:
            HTTPException: if the window is none, or `applicable` neither true nor false.
        """
        body = await read_json(request)
        try:
            left, top, right, bottom = (int(end) for end in body["window"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise HTTPException(
                400, "expected window: [first column, first row, last column + 1, last row + 1]"
            ) from None
        applicable = body.get("applicable", False)
        if not isinstance(applicable, bool):
            raise HTTPException(400, "applicable is true or false")
        self.desk.look(Window(top, left, bottom - top, right - left), applicable=applicable)
        return JSONResponse({})

    async def suggest(self, request: Request) -> Response:
        """Answer with places to label next.

        Raises:
            HTTPException: if n is no number.
        """
        number = (await read_json(request)).get("n", 10)
        if not isinstance(number, int):
            raise HTTPException(400, "n is a number of places")
        return JSONResponse({"places": await self._read(lambda: self.desk.suggest(number))})

    async def panel(self, request: Request) -> Response:
        """Answer with how well the labels are learned."""
        return JSONResponse(await self._read(self.desk.panel))

    async def command(self, request: Request) -> Response:
        """Answer with the command lines that do the same as the page, with the numbers and files of its fields.

        Raises:
            HTTPException: if n is no number.
        """
        query = request.query_params
        try:
            number = int(query.get("n", USUAL_SAMPLE))
        except ValueError:
            raise HTTPException(400, "n is a number of places") from None
        asked: dict[str, dict[str, Any]] = {"sample": {"n": number}, "assess": {"places": query.get("places", "")}}
        return JSONResponse(await self._read(lambda: self.desk.commands(asked)))

    async def jobs(self, request: Request) -> Response:
        """Answer with all jobs."""
        return JSONResponse(await self._read(self.desk.jobs.documents))

    async def start(self, request: Request) -> Response:
        """Start a job.

        Raises:
            HTTPException: if the body does not say which.
        """
        body = await read_json(request)
        kind, options = body.get("kind"), body.get("options") or {}
        if not isinstance(kind, str) or not isinstance(options, dict):
            raise HTTPException(400, "expected kind, a text, and options, an object")
        return await self._job(lambda: self.desk.start_job(kind, options))

    async def cancel(self, request: Request) -> Response:
        """Stop a job."""
        name = request.path_params["id"]
        return await self._job(lambda: self.desk.jobs.cancel(name))

    async def resume(self, request: Request) -> Response:
        """Go on with a job."""
        name = request.path_params["id"]
        return await self._job(lambda: self.desk.jobs.resume(name))

    async def file(self, request: Request) -> Response:
        """Answer with a file that a job has written, by its id.

        Raises:
            HTTPException: if there is none of this id.
        """
        path = await self._read(lambda: self.desk.jobs.file(request.path_params["id"]))
        if path is None:
            raise HTTPException(404, "there is no such file")
        return FileResponse(path, filename=path.name, headers={"Cache-Control": "no-store"})

    async def bring_in(self, request: Request) -> Response:
        """Add the labels of a file."""
        query, content = request.query_params, await read_body(request, MOST_FILE)
        name, field = query.get("name", ""), query.get("field", "")
        return await self._changed(lambda: self.desk.bring_in(name, content, _sent(query), field))

    async def upload(self, request: Request) -> Response:
        """Keep a file for a job, such as places with the class that was seen there."""
        name, content = request.query_params.get("name", ""), await read_body(request, MOST_FILE)
        path = await self._read(lambda: self.desk.keep_upload(name, content))
        return JSONResponse({"id": path.name})

    async def take_along(self, request: Request) -> Response:
        """Answer with the labels as a file.

        Raises:
            HTTPException: if it is no format of ours.
        """
        name = request.path_params["name"]
        if name not in EXPORTS:
            raise HTTPException(404, f"expected one of {', '.join(EXPORTS)}")
        content = await self._read(lambda: self.desk.take_along(name))
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _job(self, call: Callable[[], Job | None]) -> Response:
        """Do something to a job, and answer with its name."""
        job = await self._read(call)
        return JSONResponse({"id": job.id} if job else {})

    async def _changed(self, change: Callable[[], None]) -> Response:
        """Change the project, and answer with what it has become."""

        def run() -> dict[str, Any]:
            change()
            return self.desk.document()

        return JSONResponse(await _in(self._writer, run))

    async def _read(self, call: Callable[[], Made]) -> Made:
        """Call in another thread, so that other requests go on."""
        return await _in(self._readers, call)


async def _in(threads: ThreadPoolExecutor, call: Callable[[], Made]) -> Made:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def read_body(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: if it is larger than `most` bytes.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413, f"expected {most >> 20} MB at most")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body of a request, a JSON object.

    Raises:
        HTTPException: if it is something else, or too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json")
    try:
        body = json.loads(await read_body(request, MOST_JSON) or b"{}")
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "expected a JSON object")
    return body


def _sent(body: Mapping[str, Any]) -> str:
    """Return the id that a page gave a change, "" for none."""
    sent = body.get("sent", "")
    if not isinstance(sent, str) or len(sent) > _LONGEST_ID:
        raise HTTPException(400, f"sent is an id of {_LONGEST_ID} letters at most")
    return sent


def _look(request: Request) -> Look | None:
    """Return the look that a query asks for."""
    query = request.query_params
    if "bands" not in query:
        return None
    try:
        bands = tuple(int(number) for number in query["bands"].split(","))
        low, high = (tuple(float(number) for number in query.get(end, "").split(",")) for end in ("low", "high"))
        return Look(bands, low, high, float(query.get("gamma", 1)))
    except ValueError as error:
        if isinstance(error, FewshotError):
            raise
        raise HTTPException(400, "bands, low and high are numbers with commas between, gamma is a number") from None


def _file(path: Path | None, request: Request) -> Response:
    """Answer with a file of the page, or say that the browser has it already."""
    if path is None or not path.is_file():
        raise HTTPException(404, "there is no such file")
    content = path.read_bytes()
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=mimetypes.guess_type(path.name)[0], headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _failed(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": error.detail if isinstance(error, HTTPException) else str(error)}, code)
