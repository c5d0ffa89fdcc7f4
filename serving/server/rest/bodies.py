"""The body of a request, read while it comes: not larger than may be, not slower, and unpacked where it is packed."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from fewshot.exported.status import TOO_SLOW, StatusError

LEAST_RATE = 1024
"""Bytes a second that a client sends or reads at least."""
UNPACKED_AT_A_TIME = 4 << 20


async def read_body(
    request: Request,
    hold: Callable[[int], None],
    check_size: Callable[[int], None],
    *,
    grace: float,
    deadline: float | None,
) -> bytearray:
    """Read a body.

    Only bytes that have come are counted, since a client can declare any length; one that is too large is refused
    before it comes.

    Args:
        request: Its head, and where the body comes from.
        hold: Called with the bytes of each part.
        check_size: Called with the length that the head declares.
        grace: Seconds that the body may come more slowly than `LEAST_RATE`.
        deadline: On the monotonic clock, in seconds; None for no limit.

    Raises:
        StatusError: DEADLINE_EXCEEDED if it comes too slowly (408 in HTTP) or too late, CANCELLED if the client goes
            away, and what the two functions raise.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit():
        check_size(int(declared))
    body = bytearray()
    begun, end = asyncio.get_running_loop().time(), math.inf if deadline is None else deadline
    try:
        async with asyncio.timeout_at(min(end, begun + grace)) as patience:
            async for chunk in request.stream():
                hold(len(chunk))
                body += chunk
                patience.reschedule(min(end, begun + grace + len(body) / LEAST_RATE))
    except TimeoutError:
        if end <= asyncio.get_running_loop().time():
            raise StatusError("DEADLINE_EXCEEDED", "The deadline passed while the request was read.") from None
        raise StatusError(
            "DEADLINE_EXCEEDED",
            f"The request came too slowly, {len(body)} bytes after more than {grace:g} seconds; send at least "
            f"{LEAST_RATE} bytes a second.",
            http=TOO_SLOW,
        ) from None
    except ClientDisconnect:
        raise StatusError("CANCELLED", "The client went away while the request was read.") from None
    if "gzip" not in request.headers.get("content-encoding", ""):
        return body
    return await _unpacked(body, hold)


async def _unpacked(body: bytearray, hold: Callable[[int], None]) -> bytearray:
    """Unpack gzip; a body that cannot be unpacked is taken for an empty one, as TF Serving takes it."""
    unpacker = zlib.decompressobj(wbits=31)
    unpacked, rest = bytearray(), bytes(body)
    try:
        while rest and not unpacker.eof:
            part = await asyncio.to_thread(unpacker.decompress, rest, UNPACKED_AT_A_TIME)
            hold(len(part))
            unpacked += part
            rest = unpacker.unconsumed_tail
    except zlib.error:
        return bytearray()
    return unpacked if unpacker.eof else bytearray()
