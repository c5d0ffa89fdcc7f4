"""What a client is told of whatever a request meets: our own error tree, TensorFlow's errors, and all others."""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from fewshot.errors import FewshotError
from fewshot.exported.status import BY_NUMBER, StatusError, code_of

logger = logging.getLogger("serving")

FORESEEN = (FewshotError, tf.errors.OpError, DecodeError)
# What TensorFlow says of its own functions and nodes around a sentence.
DECORATION = re.compile(r"\{\{function_node [^}]*\}\} ?|\s*\[\[\{\{node [^\]]*\]\]|\s*\[Op:[^\]]*\]\s*\Z")
LONGEST_MESSAGE = 1024  # gRPC sends it in a header, of which clients take 8 KB


def as_status(error: BaseException) -> StatusError:
    """Return what a client is told of an exception."""
    if isinstance(error, StatusError):
        return StatusError(error.code, _short(str(error)), http=error.http, retry_after=error.retry_after)
    if isinstance(error, tf.errors.OpError):
        return StatusError(BY_NUMBER.get(error.error_code, "UNKNOWN"), _short(_plain(error.message)))
    code = "INVALID_ARGUMENT" if isinstance(error, DecodeError) else code_of(error)
    return StatusError(code, _short(str(error) or type(error).__name__))


class Refusal(NamedTuple):
    """What a client is told in place of an answer, without the exception that it comes from.

    An exception holds the frames it went through and all that is in them: the request, and the future that holds the
    exception. Such a circle would stay in memory until Python looks for garbage.
    """

    code: str
    message: str
    http: int
    retry_after: float | None = None

    def error(self) -> StatusError:
        """Return an exception to raise that nothing else holds."""
        return StatusError(self.code, self.message, http=self.http, retry_after=self.retry_after)


def refusal(error: BaseException) -> Refusal:
    """Return what a client is told of an exception; one that nobody foresaw is logged, and tells clients nothing."""
    status = as_status(error)
    if isinstance(error, FORESEEN):
        return Refusal(status.code, str(status), status.http, status.retry_after)
    logger.error("A request failed in a way that nobody foresaw.", exc_info=error)
    return Refusal(status.code, f"The server failed ({status.code}); its own log says more.", status.http)


def describe(error: BaseException) -> str:
    """Return `CODE: sentence`, as TensorFlow writes a status."""
    status = as_status(error)
    return f"{status.code}: {status}"


def _plain(message: str) -> str:
    """Return a sentence of TensorFlow without its decoration; cut first, since it may quote all that a client sent."""
    return DECORATION.sub("", message[: 2 * LONGEST_MESSAGE])


def _short(message: str) -> str:
    message = message.encode("utf-8", "replace").decode()  # what clients sent may be quoted in it
    return message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "...TRUNCATED"
