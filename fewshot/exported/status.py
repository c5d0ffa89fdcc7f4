"""The one table of status codes: what went wrong in our own words, in gRPC, and in HTTP.

Servers answer with a `StatusError`, which has a name of `CODES`; clients read the same names back from either protocol.
"""

from __future__ import annotations

from typing import NamedTuple

from fewshot import errors


class Code(NamedTuple):
    """What a code is in the two protocols: its number in gRPC and TensorFlow, its status in TF Serving's REST API."""

    number: int
    http: int


CODES = {
    "OK": Code(0, 200),
    "CANCELLED": Code(1, 499),
    "UNKNOWN": Code(2, 500),
    "INVALID_ARGUMENT": Code(3, 400),
    "DEADLINE_EXCEEDED": Code(4, 504),
    "NOT_FOUND": Code(5, 404),
    "ALREADY_EXISTS": Code(6, 409),
    "PERMISSION_DENIED": Code(7, 403),
    "RESOURCE_EXHAUSTED": Code(8, 429),
    "FAILED_PRECONDITION": Code(9, 400),
    "ABORTED": Code(10, 409),
    "OUT_OF_RANGE": Code(11, 400),
    "UNIMPLEMENTED": Code(12, 501),
    "INTERNAL": Code(13, 500),
    "UNAVAILABLE": Code(14, 503),
    "DATA_LOSS": Code(15, 500),
    "UNAUTHENTICATED": Code(16, 401),
}
TOO_LARGE = 413
"""HTTP's own status for the RESOURCE_EXHAUSTED of one request that is too large."""
TOO_SLOW = 408
"""HTTP's own status for the DEADLINE_EXCEEDED of a request that came too slowly."""

PUSHBACK = "grpc-retry-pushback-ms"
"""gRPC's own word, in the metadata after an answer, for when to come again; `Retry-After` in HTTP, in seconds."""

BY_NUMBER = {code.number: name for name, code in CODES.items()}
# Of several names with one HTTP status, the first of the table.
BY_HTTP = {
    TOO_LARGE: "RESOURCE_EXHAUSTED",
    TOO_SLOW: "DEADLINE_EXCEEDED",
    **{code.http: name for name, code in reversed(CODES.items())},
}

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
    FileNotFoundError: "NOT_FOUND",
    PermissionError: "PERMISSION_DENIED",
    TimeoutError: "DEADLINE_EXCEEDED",
    MemoryError: "RESOURCE_EXHAUSTED",
    Exception: "INTERNAL",
    BaseException: "CANCELLED",
}


class StatusError(errors.FewshotError, RuntimeError):
    """A request that is answered with a code and a sentence."""

    def __init__(self, code: str, message: str, *, http: int | None = None, retry_after: float | None = None) -> None:
        """Keep the code beside the sentence.

        Args:
            code: A name of `CODES`.
            message: The sentence.
            http: The HTTP status, where it is not the code's own.
            retry_after: Seconds after which the same request may be answered; None where nobody knows.
        """
        super().__init__(message)
        self.code = code
        self.http = http or CODES[code].http
        self.retry_after = retry_after


def code_of(error: BaseException) -> str:
    """Return the name of the code that an exception stands for."""
    return next(EXCEPTIONS[kind] for kind in type(error).__mro__ if kind in EXCEPTIONS)


def invalid(message: str) -> StatusError:
    """Return the commonest error: the request itself is wrong."""
    return StatusError("INVALID_ARGUMENT", message)
