"""A client of served models: our embedded server or TensorFlow Serving, over gRPC or REST.

    client = FewshotClient("localhost:8500/land")                # gRPC
    client = FewshotClient("http://localhost:8501/land")         # REST
    answer = client.adapt_and_predict(support_x, support_y, query_x)

A call that finds no server there is tried again, with growing pauses; whatever a server answers is final.
`open_predictor` opens a model by where it is, a folder here or a server.
"""

from __future__ import annotations

import base64
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from fewshot.errors import ArtifactError, FewshotError, RecipeError, ServerError
from fewshot.exported.card import CARD_NAME, Card, card_from_json
from fewshot.exported.predictor import Array, LocalPredictor, Predictor, refusal
from fewshot.exported.shipped_models import find_model
from fewshot.exported.status import BY_HTTP, StatusError

REST_PICTURE_BYTES = 8 << 20
"""As `PICTURE_BYTES`: numbers in JSON are several times longer."""

REMEDIES = {
    "UNAVAILABLE": "Is the server running, and is this its address?",
    "DEADLINE_EXCEEDED": "Allow more time (timeout), or ask for less in one call.",
    "RESOURCE_EXHAUSTED": "The server is busy or the request too large; try again later or ask for less.",
}


@dataclass(frozen=True)
class Address:
    """Where a served model is.

    Attributes:
        server: "host:port" or "unix:/path" for gRPC, "http://host:port" for REST.
        model: Its name.
        version: Its version; the newest if None.
    """

    server: str
    model: str
    version: int | None = None

    @property
    def rest(self) -> bool:
        """Whether the server speaks REST."""
        return self.server.startswith(("http://", "https://"))


def parse_target(target: str, model: str | None = None, version: int | None = None) -> Address:
    """Read "host:port[/model]", "unix:/path" or "http://host:port[/[v1/models/]model[/versions/N]]".

    Args:
        target: What to read.
        model: Overrules its model; "default" if neither names one.
        version: Overrules its version.

    Raises:
        RecipeError: if it is neither.
    """
    if target.startswith("unix:"):
        return Address(target, model or "default", version)
    found = re.fullmatch(
        r"(?P<server>(?:https?://)?[^/:]+(?::\d+)?|(?:https?://)?\[[0-9a-fA-F:]+\]:\d+)"
        r"(?:/(?:v1/models/)?(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?)?/?",
        target,
    )
    if found is None or not (found["server"].startswith("http") or ":" in found["server"]):
        raise RecipeError(
            f"A server is named as host:port/model (gRPC) or http://host:port/model (REST); received {target!r}."
        )
    named = int(found["version"]) if found["version"] else None
    return Address(found["server"], model or found["model"] or "default", version if version is not None else named)


class Transport(ABC):
    """Sends one request and returns its outputs."""

    @abstractmethod
    def call(self, signature: str, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Return the outputs of a signature.

        Args:
            signature: Its name.
            inputs: By name.
            timeout: Longest time, in seconds.

        Raises:
            StatusError: what the protocol or the server answers in their place.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""


class GrpcTransport(Transport):
    """TF Serving's PredictionService."""

    def __init__(self, address: Address, message_bytes: int) -> None:
        """Open a channel; nothing is sent yet."""
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        from fewshot.exported import tensors

        self._grpc, self._tensors = grpc, tensors
        self._requests, self._address = predict_pb2.PredictRequest, address
        limits = [("grpc.max_send_message_length", message_bytes), ("grpc.max_receive_message_length", message_bytes)]
        self._channel = grpc.insecure_channel(address.server, options=limits)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def call(self, signature: str, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Call Predict."""
        request = self._requests()
        request.model_spec.name, request.model_spec.signature_name = self._address.model, signature
        if self._address.version is not None:
            request.model_spec.version.value = self._address.version
        for key, value in inputs.items():
            self._tensors.write_content(request.inputs[key], np.asarray(value))
        try:
            response = self._stub.Predict(request, timeout=timeout)
        except self._grpc.RpcError as error:
            raise StatusError(error.code().name, error.details() or "") from None
        try:
            return {key: self._tensors.decode(proto, key) for key, proto in response.outputs.items()}
        except StatusError as error:
            raise StatusError("UNKNOWN", f"the answer cannot be read: {error}") from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class RestTransport(Transport):
    """TF Serving's REST API, columnar."""

    def __init__(self, address: Address) -> None:
        """Open a client; nothing is sent yet."""
        version = "" if address.version is None else f"/versions/{address.version}"
        self._path = f"/v1/models/{address.model}{version}:predict"
        self._client = httpx.Client(base_url=address.server)

    def call(self, signature: str, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """POST to :predict; a lone output comes without its name, and gets the name "" here."""
        written = ", ".join(f"{json.dumps(key)}: {json_text(np.asarray(value))}" for key, value in inputs.items())
        body = f'{{"signature_name": {json.dumps(signature)}, "inputs": {{{written}}}}}'
        try:
            response = self._client.post(
                self._path, content=body, headers={"Content-Type": "application/json"}, timeout=timeout
            )
        except httpx.TimeoutException as error:
            connecting = isinstance(error, httpx.ConnectTimeout)
            raise StatusError("UNAVAILABLE" if connecting else "DEADLINE_EXCEEDED", str(error)) from None
        except httpx.TransportError as error:
            raise StatusError("UNAVAILABLE", str(error)) from None
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if response.status_code != httpx.codes.OK:
            message = answer.get("error") if isinstance(answer, dict) else None
            raise StatusError(BY_HTTP.get(response.status_code, "UNKNOWN"), str(message or response.text))
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise StatusError("UNKNOWN", "the answer is not that of a model server")
        outputs = answer["outputs"]
        return outputs if isinstance(outputs, dict) else {"": outputs}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


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
    ) -> None:
        """Name a model; nothing is sent yet.

        Args:
            target: "host:port/model" for gRPC, "http://host:port/model" for REST.
            model: Its name, where the target does not say it; "default" if neither does.
            version: Of the model; the newest if None.
            timeout: Longest time for one call, tries included, in seconds.
            retries: How often a call that finds no server there is tried again.
            message_bytes: Largest gRPC message either way; -1 for no limit.

        Raises:
            RecipeError: if the target is no address.
        """
        self.address = parse_target(target, model, version)
        self.timeout, self.retries, self._message_bytes = timeout, retries, message_bytes
        self._transport: Transport = (
            RestTransport(self.address) if self.address.rest else GrpcTransport(self.address, message_bytes)
        )
        if self.address.rest:
            self.picture_bytes = REST_PICTURE_BYTES

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
        """Call the transport, again where there was no server, as long as there is time."""
        end, pause, left = time.monotonic() + self.timeout, 0.1, self.retries
        while True:
            try:
                return self._transport.call(signature, inputs, max(end - time.monotonic(), 0.001))
            except StatusError as problem:
                if problem.code != "UNAVAILABLE" or not left or time.monotonic() + pause >= end:
                    raise self._error(problem) from None
            time.sleep(pause)
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
    if not Path(text).is_dir() and (text.startswith(("http://", "https://", "unix:")) or re.search(r":\d+(/|$)", text)):
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


def json_text(value: Array) -> str:
    """Return an array as JSON: numbers nested like its axes, bytes as TF Serving's b64 objects, text as text."""
    if value.dtype == object:
        files = [{"b64": base64.b64encode(item).decode()} for item in np.atleast_1d(value)]
        return json.dumps(files if value.ndim else value.item().decode())
    if not value.size:
        return json.dumps(value.tolist())
    # Lists in lists would be thousands of objects at a time, which set off Python's search for garbage: half a second
    # where TensorFlow is loaded.
    texts = json.dumps(value.ravel().tolist())[1:-1].split(", ")
    for size in reversed(value.shape):
        texts = [f"[{', '.join(texts[first : first + size])}]" for first in range(0, len(texts), size)]
    return texts[0]
