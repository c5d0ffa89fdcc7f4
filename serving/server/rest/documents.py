"""JSON as TF Serving reads and writes it: documents, its words for what is wrong with them, and numbers.

TF Serving reads with RapidJSON: its sentences and offsets are what clients know, and it takes `Inf` for infinity.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from fewshot.exported.status import invalid

# Python's sentence: RapidJSON's, which clients of TF Serving know.
SENTENCES = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
# A string to its end, or to that of the text where it has none: so every character is looked at once, whatever is sent.
STRING = r'"(?:[^"\\]|\\[\s\S])*+"?'
# A string, which stays as it is, or a spelling of infinity or not-a-number that Python does not read.
# All three begin with a character that is searched for fast.
ODD_NUMBER = re.compile(rf"{STRING}|-NaN\b|Inf(?<=\bInf)\b")
LONGEST_QUOTE = 1000
LONGEST_ODD = 8 << 20
"""Bytes of the longest text that is read although it is no strict JSON, or looked through for what is wrong with it.

That is a hundred times slower, and all other requests wait for some of it.
"""
MOST_VALUES = 8 << 20
"""Of a document that is read whole, since all other requests wait meanwhile; numbers in columns may be more."""
MOST_MEMBERS = 1000
LONG = 4096
"""Bytes of a body from which on the values of its inputs are not read before it is known what they should be."""
DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


class _Columns(msgspec.Struct):
    """A predict request in columns; what else there is, is passed over."""

    inputs: dict[str, msgspec.Raw]
    signature_name: str = ""
    instances: msgspec.Raw = msgspec.Raw()


_COLUMNS = msgspec.json.Decoder(_Columns)


@dataclass(frozen=True, eq=False)
class UnreadValue:
    """A value that is only known to be JSON.

    Attributes:
        text: Of the value.
    """

    text: bytes

    def read(self) -> Any:
        """Return the value."""
        return _loads(self.text)


def read_document(body: bytes | bytearray) -> dict[str, Any]:
    """Read a request's body.

    Raises:
        StatusError: INVALID_ARGUMENT if it is not a JSON object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    document = _loads(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quote(document)} Is not object")
    return document


def read_predict_document(body: bytes | bytearray) -> dict[str, Any]:
    """Read the body of a predict request; if it is long and in columns, inputs are left as `UnreadValue`.

    Raises:
        StatusError: INVALID_ARGUMENT if it is not a JSON object.
    """
    found = _read_columns(body) if len(body) >= LONG else None
    return read_document(body) if found is None else found


def _read_columns(body: bytes | bytearray) -> dict[str, Any] | None:
    """Return signature and inputs of a document that has no more of what counts; None of any other."""
    if body.count(b":") > MOST_MEMBERS:
        return None
    try:
        found = _COLUMNS.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # the second of names that are no UTF-8
        return None
    if bytes(found.instances) or "b64" in found.inputs:  # two formats at once, or a file that stands for all inputs
        return None
    inputs = {name: UnreadValue(bytes(text)) for name, text in found.inputs.items()}
    return {"signature_name": found.signature_name, "inputs": inputs}


def _loads(text: bytes | bytearray) -> Any:
    if text.count(b",") >= MOST_VALUES:
        raise invalid(
            f"The document has more than {MOST_VALUES} values, as many as are read. Send less at a time, numbers in "
            "'inputs' as lists of equal length, or over gRPC."
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if len(text) > LONGEST_ODD:
            raise invalid(
                f"JSON Parse error: not strictly JSON at character {error.pos}. Values such as NaN and Inf are read in "
                f"up to {LONGEST_ODD} bytes."
            ) from None
        return _read_leniently(text.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))


def _read_leniently(text: str) -> Any:
    """Read what is not strictly JSON, as far as TF Serving reads it, and say what is wrong as it does."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _read_odd_numbers(text, error)
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None
    except ValueError:  # more digits than Python turns into a number
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def quote(value: Any) -> str:
    """Return a value as JSON for a message, the beginning of it if it is long."""
    if isinstance(value, float):
        return decimals(np.asarray(value))[0]
    parts, length = [], 0
    for part in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > LONGEST_QUOTE:
            return "".join(parts)[:LONGEST_QUOTE] + "..."
    return "".join(parts)


def decimals(array: np.ndarray) -> list[str]:
    """Write numbers as TF Serving does: six digits where they say it all, else as many as are needed to read them back.

    Args:
        array: float32 or float64, any shape.

    Returns:
        One text a value, in order; infinities and not-a-number as bare words.
    """
    flat = array.ravel()
    values = flat.tolist()
    texts = [f"{value:.6g}" for value in values]
    with np.errstate(over="ignore"):
        again = np.array(texts, dtype=np.float64).astype(flat.dtype)
    longer = np.flatnonzero((again != flat) & np.isfinite(flat)).tolist()
    form = f"%.{DIGITS[flat.dtype]}g "
    written = (form * len(longer) % tuple(values[i] for i in longer)).split()
    for i, text in zip(longer, written, strict=True):
        texts[i] = text
    texts = [text if "." in text or "e" in text else text + ".0" for text in texts]
    for i in np.flatnonzero(~np.isfinite(flat)).tolist():
        texts[i] = "NaN" if np.isnan(flat[i]) else "-Infinity" if flat[i] < 0 else "Infinity"
    return texts


def _read_odd_numbers(text: str, error: json.JSONDecodeError) -> Any:
    def respell(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else {"-NaN": "NaN", "Inf": "Infinity"}[found]

    respelled = ODD_NUMBER.sub(respell, text)
    if respelled != text:
        try:
            return json.loads(respelled)
        except (ValueError, RecursionError):
            pass
    sentence = SENTENCES.get(error.msg)
    if sentence is None:  # a missing comma, in whichever kind of brackets
        inside = _open_bracket(text[: error.pos])
        sentence = f"Missing a comma or {'] after an array element' if inside == '[' else '} after an object member'}."
    if error.pos >= len(text.rstrip()) and not text.strip():
        sentence = "The document is empty."
    offset = len(text[: error.pos].encode("utf-8", "surrogateescape"))
    raise invalid(f"JSON Parse error: {sentence} at offset: {offset}") from None


def _open_bracket(text: str) -> str:
    stack = []
    for match in re.finditer(rf"{STRING}|[][{{}}]", text):
        token = match.group()
        if token in "[{":
            stack.append(token)
        elif token in "]}" and stack:
            stack.pop()
    return stack[-1] if stack else ""
