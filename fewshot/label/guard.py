"""Who is let in: the browser that was given the address with the token, and no page of another site through it."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fewshot.errors import RecipeError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_POLICY = "Content-Security-Policy"
_IMAGES = "img-src 'self' data: blob:"
HEADERS: Mapping[str, str] = {
    _POLICY: f"default-src 'self'; {_IMAGES}; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer."""
_READS = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_origin(text: str) -> str:
    """Return an origin as browsers send it: in small letters, without the port that its scheme has anyway.

    Raises:
        RecipeError: if it is none.
    """
    try:
        parts = urlsplit(text.strip().lower())
        usual, port = _PORTS[parts.scheme], parts.port
    except (KeyError, ValueError):
        usual, port, parts = 0, 0, urlsplit("")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise RecipeError(
            f"--origin is a scheme, a name and perhaps a port, such as https://label.example.org; received {text!r}"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, usual) else "")


class PageGuard:
    """Stands before the page's application, as one itself."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, images: str = "", origin: str = "") -> None:
        """Let in who has the token.

        Args:
            app: Behind it.
            host: Where the server listens.
            port: Where it listens.
            images: Another origin that the page may show pictures of.
            origin: What browsers call the server by, where something that speaks TLS stands before it:
                https://label.example.org.

        `origin` is what a page of the server comes from, `token` what lets one in.

        Raises:
            RecipeError: if the origin is none.
        """
        self._app, self.token, self._cookie = app, secrets.token_urlsafe(32), f"fewshot-{port}"
        name = f"[{host}]" if ":" in host else host
        self.origin = read_origin(origin) if origin else f"http://{name}:{port}"
        policy = HEADERS[_POLICY].replace(_IMAGES, f"{_IMAGES} {images}".rstrip())
        self._headers = {**HEADERS, _POLICY: policy}
        # Where it is not known by which names others reach this machine, the cookie alone decides: a browser shows it
        # to the name that it got it from.
        known = {f"http://{own}:{port}" for own in (*LOOPBACK, name)} if is_loopback(host) else set()
        self._origins = {self.origin} if origin else known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer, as ASGI servers ask for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """Return what is said instead of the application's own answer, None where that is let through."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        own = next((known for known in self._origins if known.partition("://")[2] == host), "")
        if self._origins and not own:
            return PlainTextResponse("This server is not called by this name; use the address that it printed.", 403)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] in _READS and given:
            return self._welcome(given)
        if not self._matches(_read_cookie(headers.get("cookie", ""), self._cookie)):
            return PlainTextResponse(
                "Open the address that `fewshot label` printed, with its token: it lets this browser in.", 403
            )
        if scope["method"] not in _READS and not _same_origin(headers, own or f"http://{host}"):
            return PlainTextResponse("Only the page itself may change something: send its Origin.", 403)
        return None

    def _welcome(self, given: str) -> Response:
        """Exchange the token in an address, which histories and screenshots keep, for a cookie."""
        if not self._matches(given):
            return PlainTextResponse("This token is of another start; open the address that was printed last.", 403)
        # A redirect would not do: after one, browsers count as where the visit began the page or file whose link was
        # followed, and show a strict cookie to none from elsewhere. This page begins it anew.
        head = '<title>Label</title><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0; url=/">'
        answer = HTMLResponse(f"<!doctype html>{head}")
        secure = self.origin.startswith("https:")
        answer.set_cookie(self._cookie, self.token, httponly=True, samesite="strict", secure=secure)
        return answer

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _read_cookie(text: str, name: str) -> str:
    try:
        found = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _same_origin(headers: Headers, own: str) -> bool:
    """Whether a browser says that a page of this server asks; both of its ways of saying so, where it has two."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    said = [origin.lower() == own] if origin is not None else []
    said += [site == "same-origin"] if site is not None else []
    return bool(said) and all(said)
