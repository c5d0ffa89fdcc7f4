"""How a request travels to a served model: where it is, what is shown to its server, and both protocols."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import numpy as np
import orjson
import urllib3

from fewshot.errors import RecipeError
from fewshot.exported import tensors
from fewshot.exported.messages import PREDICT, PredictRequest, PredictResponse
from fewshot.exported.predictor import Array
from fewshot.exported.status import BY_HTTP, PUSHBACK, StatusError

KEY_VARIABLE, CA_VARIABLE = "FEWSHOT_API_KEY", "FEWSHOT_CA"
ENCRYPTED = "grpcs://"
"""Begins the address of a gRPC server that encrypts, as https:// does in REST."""
_KEPT_OPEN = 32  # HTTP connections of threads that share a client


@dataclass(frozen=True)
class Address:
    """Where a served model is.

    Attributes:
        server: "host:port", "grpcs://host:port" or "unix:/path" for gRPC, "http://host:port" or "https://..." for REST.
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


@dataclass(frozen=True)
class Access:
    """What a client shows a server, and what it holds against what the server shows.

    Attributes:
        key: One of the server's keys; empty for none.
        authority: File of the certificates, PEM, that sign for an encrypted server's own; the system's if None.
    """

    key: str = field(default="", repr=False)
    authority: Path | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}


def access(key: str | None = None, authority: Path | None = None) -> Access:
    """Return what was given, or what FEWSHOT_API_KEY and FEWSHOT_CA say."""
    path = authority or os.environ.get(CA_VARIABLE)
    return Access(os.environ.get(KEY_VARIABLE, "") if key is None else key, Path(path) if path else None)


def parse_target(target: str, model: str | None = None, version: int | None = None) -> Address:
    """Read "[grpcs://]host:port[/model]", "unix:/path" or "http[s]://host:port[/[v1/models/]model[/versions/N]]".

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
        r"(?P<server>(?:(?:https?|grpcs)://)?[^/:]+(?::\d+)?|(?:(?:https?|grpcs)://)?\[[0-9a-fA-F:]+\]:\d+)"
        r"(?:/(?:v1/models/)?(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?)?/?",
        target,
    )
    port = found is not None and ":" in found["server"].removeprefix(ENCRYPTED)
    if found is None or not (found["server"].startswith("http") or port):
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

    def __init__(self, address: Address, allowed: Access, message_bytes: int) -> None:
        """Open a channel; nothing is sent yet.

        Args:
            address: Where the model is.
            allowed: What is shown to its server.
            message_bytes: Largest message either way; -1 for no limit.
        """
        import grpc

        self._grpc, self._address = grpc, address
        limits = [("grpc.max_send_message_length", message_bytes), ("grpc.max_receive_message_length", message_bytes)]
        self._metadata = tuple(allowed.headers.items())
        if address.server.startswith(ENCRYPTED):
            signing = allowed.authority.read_bytes() if allowed.authority else None
            credentials = grpc.ssl_channel_credentials(signing)
            self._channel = grpc.secure_channel(address.server.removeprefix(ENCRYPTED), credentials, options=limits)
        else:
            self._channel = grpc.insecure_channel(address.server, options=limits)
        self._predict = self._channel.unary_unary(
            PREDICT,
            request_serializer=PredictRequest.SerializeToString,
            response_deserializer=PredictResponse.FromString,
        )

    def call(self, signature: str, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Call Predict."""
        request = PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._address.model, signature
        if self._address.version is not None:
            request.model_spec.version.value = self._address.version
        for key, value in inputs.items():
            tensors.write_content(request.inputs[key], np.asarray(value))
        try:
            response = self._predict(request, timeout=timeout, metadata=self._metadata)
        except self._grpc.RpcError as error:
            later = dict(error.trailing_metadata() or ()).get(PUSHBACK)
            again = float(later) / 1000 if later else None
            raise StatusError(error.code().name, error.details() or "", retry_after=again) from None
        try:
            return {key: tensors.decode(proto, key) for key, proto in response.outputs.items()}
        except StatusError as error:
            raise StatusError("UNKNOWN", f"the answer cannot be read: {error}") from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class RestTransport(Transport):
    """TF Serving's REST API, columnar."""

    def __init__(self, address: Address, allowed: Access) -> None:
        """Open a client; nothing is sent yet."""
        version = "" if address.version is None else f"/versions/{address.version}"
        self._url = f"{address.server}/v1/models/{address.model}{version}:predict"
        self._headers = {"Content-Type": "application/json", **allowed.headers}
        signing = ssl.create_default_context(cafile=allowed.authority)
        options: dict[str, Any] = {"ssl_context": signing, "maxsize": _KEPT_OPEN, "retries": False}
        proxy = _proxy_of(address.server)
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

    def call(self, signature: str, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """POST to :predict; a lone output comes without its name, and gets the name "" here."""
        written = b",".join(
            b"%b:%b" % (orjson.dumps(key), json_text(np.asarray(value))) for key, value in inputs.items()
        )
        body = b'{"signature_name":%b,"inputs":{%b}}' % (orjson.dumps(signature), written)
        try:
            most = urllib3.Timeout(total=timeout)
            response = self._pool.urlopen("POST", self._url, body=body, headers=self._headers, timeout=most)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise StatusError("DEADLINE_EXCEEDED", str(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise StatusError("UNAVAILABLE", str(error)) from None
        answer = _read(response)
        if response.status != HTTPStatus.OK:
            message = answer.get("error") if isinstance(answer, dict) else None
            later = response.headers.get("retry-after", "")
            raise StatusError(
                BY_HTTP.get(response.status, "UNKNOWN"),
                str(message or response.data.decode(errors="replace")),
                retry_after=float(later) if later.isdecimal() else None,
            )
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise StatusError("UNKNOWN", "the answer is not that of a model server")
        outputs = answer["outputs"]
        return outputs if isinstance(outputs, dict) else {"": outputs}

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _read(response: urllib3.BaseHTTPResponse) -> Any:
    try:
        return orjson.loads(response.data)
    except orjson.JSONDecodeError:  # not strict: TF Serving has words for what is not finite
        pass
    try:
        return json.loads(response.data)
    except ValueError:
        return {}


def _proxy_of(server: str) -> str | None:
    """Return the proxy that the environment names for an address, None where it names none."""
    parts = urlsplit(server)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def json_text(value: Array) -> bytes:
    """Return an array as JSON: numbers nested like its axes, bytes as TF Serving's b64 objects, text as text."""
    if value.dtype == object:
        files = [{"b64": base64.b64encode(item).decode()} for item in np.atleast_1d(value)]
        return orjson.dumps(files if value.ndim else value.item().decode())
    if value.ndim and np.isfinite(value).all():
        return orjson.dumps(np.require(value, requirements="C"), option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value.tolist()).encode()  # with words for what is not finite
