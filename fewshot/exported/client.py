"""A client of served models: our embedded server or TensorFlow Serving, over gRPC or REST.

    client = FewshotClient("localhost:8500/land")                # gRPC
    client = FewshotClient("http://localhost:8501/land")         # REST
    answer = client.adapt_and_predict(support_x, support_y, query_x)

A call that finds no server there, or one that asks to come again later, is tried again, with growing pauses; whatever
else a server answers is final. Where a server asks for a key, FEWSHOT_API_KEY holds one; "grpcs://" and "https://" are
encrypted, and FEWSHOT_CA names the certificates that sign for servers where the system's do not.
`open_predictor` opens a model by where it is, a folder here or a server.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewshot.errors import ArtifactError, FewshotError, ServerError
from fewshot.exported.card import CARD_NAME, Card, card_from_json
from fewshot.exported.predictor import Array, LocalPredictor, Predictor, refusal
from fewshot.exported.shipped_models import find_model
from fewshot.exported.status import StatusError
from fewshot.exported.transports import GrpcTransport, RestTransport, Transport, access, parse_target

REST_PICTURE_BYTES = 8 << 20
"""As `PICTURE_BYTES`: numbers in JSON are several times longer."""

UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""What OpenSSL says in both protocols of a server whose certificate nobody signed whom the client trusts."""
ADDRESSES = ("http://", "https://", "grpcs://", "unix:")
REMEDIES = {
    "UNAVAILABLE": "Is the server running, and is this its address?",
    "DEADLINE_EXCEEDED": "Allow more time (timeout), or ask for less in one call.",
    "UNAUTHENTICATED": "Set FEWSHOT_API_KEY to one of the server's keys.",
    "RESOURCE_EXHAUSTED": "The server is busy or the request too large; try again later or ask for less.",
}


class FewshotClient(Predictor):
    """A served model. One client may be used by several threads."""

    def __init__(  # noqa: PLR0913  independent settings of a connection, all with defaults
        self,
        target: str,
        *,
        model: str | None = None,
        version: int | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        message_bytes: int = -1,
        key: str | None = None,
        authority: Path | None = None,
    ) -> None:
        """Name a model; nothing is sent yet.

        Args:
            target: "host:port/model" for gRPC, "http://host:port/model" for REST; encrypted with "grpcs://", "https://".
            model: Its name, where the target does not say it; "default" if neither does.
            version: Of the model; the newest if None.
            timeout: Longest time for one call, tries included, in seconds.
            retries: How often a call that finds no server there, or a busy one, is tried again.
            message_bytes: Largest gRPC message either way; -1 for no limit.
            key: Shown to the server; what FEWSHOT_API_KEY says if None.
            authority: File of certificates, PEM, that sign for the server's own; what FEWSHOT_CA says if None.

        Raises:
            RecipeError: if the target is no address.
        """
        self.address = parse_target(target, model, version)
        self.timeout, self.retries, self._message_bytes = timeout, retries, message_bytes
        self._allowed = access(key, authority)
        self._transport: Transport
        if self.address.rest:
            self._transport = RestTransport(self.address, self._allowed)
            self.picture_bytes = REST_PICTURE_BYTES
        else:
            self._transport = GrpcTransport(self.address, self._allowed, message_bytes)

    def __reduce__(self) -> tuple[Callable[[], FewshotClient], tuple[()]]:
        """Travel as the address and how it is called."""
        opened = partial(
            FewshotClient,
            self.address.server,
            model=self.address.model,
            version=self.address.version,
            timeout=self.timeout,
            retries=self.retries,
            message_bytes=self._message_bytes,
            key=self._allowed.key,
            authority=self._allowed.authority,
        )
        return opened, ()

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

    def read_card(self) -> Card:
        """Ask the server for the card."""
        outputs = self._tried("card", {"document": np.array(CARD_NAME.encode(), object)})
        (value,) = outputs.values()
        text = np.asarray(value, object).item()
        return card_from_json(text, where=f"the card of {self._where()}")

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Call a signature; what the server refuses or cannot do is an error of our tree."""
        if signature not in self.card().signatures:
            raise ArtifactError(f"{self._where()} has no signature {signature}.")
        notes = self.card().signatures[signature].outputs
        outputs = self._tried(*self._as_files(signature, inputs))
        if "" in outputs:
            outputs = {next(iter(notes)): outputs[""]}
        return {key: np.asarray(value, notes[key].dtype) for key, value in outputs.items() if key in notes}

    def _as_files(self, signature: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Let 8-bit pictures travel over REST as PNG files, fifteen times shorter than numbers in JSON."""
        card, encoded = self.card(), f"{signature}_encoded"
        if not self.address.rest or encoded not in card.signatures:
            return signature, inputs
        pictures = {key: value for key, value in inputs.items() if key in ("support_x", "query_x")}
        if not all(holds_bytes(value, len(card.bands)) for value in pictures.values()):
            return signature, inputs
        files = {key.replace("_x", "_bytes"): encode_pictures(value) for key, value in pictures.items()}
        return encoded, {**{key: value for key, value in inputs.items() if key not in pictures}, **files}

    def _tried(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Call the transport, again where there was no server or a busy one, as long as there is time."""
        end, pause, left = time.monotonic() + self.timeout, 0.1, self.retries
        while True:
            try:
                return self._transport.call(signature, inputs, max(end - time.monotonic(), 0.001))
            except StatusError as problem:
                # Not all of those that were turned away at once come back at once.
                wait = max(pause, problem.retry_after or 0.0) * random.uniform(1.0, 1.5)
                again = problem.code == "UNAVAILABLE" or problem.retry_after is not None
                if not again or not left or time.monotonic() + wait >= end:
                    raise self._error(problem) from None
            time.sleep(wait)
            pause, left = 2 * pause, left - 1

    def _error(self, problem: StatusError) -> FewshotError:
        """Return the error of our tree for a status."""
        if problem.code == "INVALID_ARGUMENT":
            return refusal(str(problem))
        message = str(problem).rstrip(". \n")
        if problem.code in ("NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"):
            return ArtifactError(
                f"{self._where()}: {message}. Name a model that `fewshot export` made, as in localhost:8500/MODEL."
            )
        remedy = REMEDIES.get(problem.code, "The server's own log may say more.")
        if UNTRUSTED in message:
            remedy = "Name a file of the certificates that sign for it: FEWSHOT_CA, or authority in Python."
        return ServerError(f"{self._where()} answers {problem.code}: {message}. {remedy}", problem.code)

    def _where(self) -> str:
        version = "" if self.address.version is None else f" version {self.address.version}"
        return f"{self.address.server}, model {self.address.model}{version}"


def open_predictor(target: str | Path, *, timeout: float = 60.0) -> Predictor:
    """Open a model by where it is.

    Args:
        target: A SavedModel folder or the name of a model in the box; or what `FewshotClient` takes:
            "host:port/name", "http://host:port/name".
        timeout: Longest time for one call to a server, in seconds.

    Raises:
        DataNotFoundError: if there is no such folder or model.
        ArtifactError: if it is not an exported model, or is damaged.
        RecipeError: if the target begins as an address and is none.
    """
    text = str(target)
    if not Path(text).is_dir() and (text.startswith(ADDRESSES) or re.search(r":\d+(/|$)", text)):
        return FewshotClient(text, timeout=timeout)
    return LocalPredictor(find_model(text))


def holds_bytes(pictures: Array, bands: int) -> bool:
    """Whether pictures are [n, H, W, bands] of whole numbers 0-255, at least one."""
    if pictures.ndim != 4 or pictures.shape[3] != bands or not pictures.size:
        return False
    return bool(np.all((pictures >= 0) & (pictures <= 255) & (pictures == np.floor(pictures))))


def encode_pictures(pictures: Array) -> Array:
    """Return pictures [n, H, W, 1 or 3] of whole numbers 0-255 as PNG files, [n] bytes."""
    files = np.empty(len(pictures), object)
    for index, picture in enumerate(pictures.astype(np.uint8)):
        file = BytesIO()
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
        files[index] = file.getvalue()
    return files
