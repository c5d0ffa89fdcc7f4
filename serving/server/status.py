"""What a client is told of whatever a request meets: our own error tree, TensorFlow's errors, and all others."""

from __future__ import annotations

import tensorflow as tf
from google.protobuf.message import DecodeError

from fewshot.exported.status import BY_NUMBER, StatusError, code_of

LONGEST_MESSAGE = 1024  # gRPC sends it in a header, of which clients take 8 KB


def as_status(error: BaseException) -> StatusError:
    """Return what a client is told of an exception."""
    if isinstance(error, StatusError):
        return StatusError(error.code, _short(str(error)), http=error.http)
    if isinstance(error, tf.errors.OpError):
        return StatusError(BY_NUMBER.get(error.error_code, "UNKNOWN"), _short(error.message))
    code = "INVALID_ARGUMENT" if isinstance(error, DecodeError) else code_of(error)
    return StatusError(code, _short(str(error) or type(error).__name__))


def describe(error: BaseException) -> str:
    """Return `CODE: sentence`, as TensorFlow writes a status."""
    status = as_status(error)
    return f"{status.code}: {status}"


def _short(message: str) -> str:
    message = message.encode("utf-8", "replace").decode()  # what clients sent may be quoted in it
    return message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "...TRUNCATED"
