"""The one table of status codes: what went wrong here, in gRPC, and in HTTP.

Everything that a request can meet becomes a `Status`: our own error tree, TensorFlow's errors, and the
`StatusError` that the server itself raises where TF Serving's API asks for a certain code and sentence.
"""

from __future__ import annotations

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from fewshot import errors

# Name of the code: (its number in gRPC and TensorFlow, its HTTP status in TF Serving's REST API).
CODES = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
NAMES = {number: name for name, (number, _) in CODES.items()}

# The most derived class that an exception belongs to decides.
EXCEPTIONS: dict[type[BaseException], str] = {
    errors.RecipeError: "INVALID_ARGUMENT",
    errors.ManifestError: "INVALID_ARGUMENT",
    errors.DataNotFoundError: "NOT_FOUND",
    errors.DamagedDataError: "DATA_LOSS",
    errors.RasterError: "INVALID_ARGUMENT",
    errors.TaskError: "INVALID_ARGUMENT",
    errors.ShapeError: "INVALID_ARGUMENT",
    errors.DivergedError: "OUT_OF_RANGE",
    errors.ArtifactError: "FAILED_PRECONDITION",
    errors.ServerError: "UNAVAILABLE",
    errors.FewshotError: "INTERNAL",
    DecodeError: "INVALID_ARGUMENT",
    FileNotFoundError: "NOT_FOUND",
    PermissionError: "PERMISSION_DENIED",
    TimeoutError: "DEADLINE_EXCEEDED",
    MemoryError: "RESOURCE_EXHAUSTED",
    Exception: "INTERNAL",
}

LONGEST_MESSAGE = 1024  # gRPC sends it in a header, of which clients take 8 KB


class StatusError(errors.FewshotError, RuntimeError):
    """A request that is answered with a code and a sentence.

    Attributes:
        code: A name of `CODES`.
        http: The HTTP status where it is not the code's own.
    """

    def __init__(self, code: str, message: str, *, http: int | None = None) -> None:
        """Keep the code beside the sentence."""
        super().__init__(message)
        self.code = code
        self.http = http or CODES[code][1]


def as_status(error: BaseException) -> StatusError:
    """Return what a client is told of an exception."""
    if isinstance(error, StatusError):
        return StatusError(error.code, _short(str(error)), http=error.http)
    if isinstance(error, tf.errors.OpError):
        return StatusError(NAMES.get(error.error_code, "UNKNOWN"), _short(error.message))
    kind = next(kind for kind in type(error).__mro__ if kind in EXCEPTIONS or kind is BaseException)
    code = EXCEPTIONS.get(kind, "CANCELLED")
    return StatusError(code, _short(str(error) or type(error).__name__))


def grpc_code(code: str) -> grpc.StatusCode:
    """Return gRPC's member of a code's name."""
    return grpc.StatusCode[code]


def describe(error: BaseException) -> str:
    """Return `CODE: sentence`, as TensorFlow writes a status."""
    status = as_status(error)
    return f"{status.code}: {status}"


def invalid(message: str) -> StatusError:
    """Return the commonest error: the request itself is wrong."""
    return StatusError("INVALID_ARGUMENT", message)


def _short(message: str) -> str:
    message = message.encode("utf-8", "replace").decode()  # what clients sent may be quoted in it
    return message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "...TRUNCATED"
