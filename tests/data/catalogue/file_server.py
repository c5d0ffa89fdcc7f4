"""A small server of files that can drop connections, change files and refuse ranges."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import numpy as np

CONTENT = {
    "one.zip": np.random.default_rng(1).bytes(300_000),
    "deep/two.bin": np.random.default_rng(2).bytes(50_000),
}


@dataclass
class Server:
    """What the server holds, and how it behaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    ranges: bool = True
    etag: str = ""
    status: int = 200
    kind: str = "application/octet-stream"
    chunked: bool = False
    drop_after: int | None = None
    stall_after: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers as its `server_state` says."""

    server_state: Server

    def do_GET(self) -> None:
        state, path, wanted = self.server_state, self.path.lstrip("/"), self.headers.get("Range")
        state.asked.append((path, wanted))
        if state.status != 200 or path not in state.files:
            self.send_error(state.status if state.status != 200 else 404)
            return
        content = state.files[path]
        unchanged = self.headers.get("If-Range") in (None, state.etag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges and unchanged else 0
        if start >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        headers = {"Content-Type": state.kind}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if not state.chunked:
            headers["Content-Length"] = str(len(content) - start)
        if state.etag:
            headers["ETag"] = state.etag
        self.answer(206 if start else 200, headers)
        self.send(content[start:])

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, content: bytes) -> None:
        state = self.server_state
        if state.stall_after is not None:
            self.wfile.write(content[: state.stall_after])
            state.go_on.wait(30)
        else:
            self.wfile.write(content[: state.drop_after])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
