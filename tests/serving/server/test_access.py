"""Who is let in: keys, encryption, and names that the server is called by."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from fewshot.errors import RecipeError, ServerError
from fewshot.exported.client import FewshotClient
from serving.server.flags import is_loopback, read_flags
from serving.server.keys import ApiKeys
from serving.server.rest.guard import host_name, host_names
from serving.server.tls import read_tls
from tests.serving.server.certificates import make_certificate, write_ssl_config

KEY, OTHER_KEY = "correct horse", "battery staple"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def write_keys(path: Path, *keys: str) -> Path:
    lines = [f"{hashlib.sha256(key.encode()).hexdigest()}  key {number}" for number, key in enumerate(keys)]
    path.write_text("\n".join(["# keys", "", *lines, ""]))
    return path


@pytest.fixture(scope="module")
def locked(run_server: Callable, edges: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that asks for a key, and encrypts."""
    folder = tmp_path_factory.mktemp("access")
    key, certificate = make_certificate(folder)
    running = run_server(
        {"edges": edges},
        api_key_file=str(write_keys(folder / "keys", KEY, OTHER_KEY)),
        ssl_config_file=str(write_ssl_config(folder / "ssl.config", key, certificate)),
    )
    running.certificate, running.keys = certificate, folder / "keys"
    yield running
    running.stop()


def over_rest(server: Any, path: str, **options: Any) -> httpx.Response:
    url = f"https://localhost:{server.options.rest_api_port}{path}"
    trusting = ssl.create_default_context(cafile=server.certificate)
    return httpx.get(url, verify=trusting, timeout=20, **options)


def over_grpc(server: Any, key: str | None) -> str:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "edges"
    credentials = grpc.ssl_channel_credentials(server.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{server.options.port}", credentials) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            stub.GetModelStatus(request, timeout=20, metadata=() if key is None else (("authorization", key),))
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


@pytest.mark.parametrize("path", ["/v1/models/edges", "/monitoring/prometheus/metrics", "/nowhere"])
def test_nothing_is_said_over_rest_without_a_key(locked: Any, path: str) -> None:
    for headers in ({}, bearer("wrong"), {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}):
        response = over_rest(locked, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json() == {"error": "Show a key of this server: Authorization: Bearer KEY."}
    for key in (KEY, OTHER_KEY):
        assert over_rest(locked, path, headers=bearer(key)).status_code == (404 if path == "/nowhere" else 200)


def test_nothing_is_said_over_grpc_without_a_key(locked: Any) -> None:
    assert {over_grpc(locked, key) for key in (None, "", "Bearer wrong", KEY)} == {"UNAUTHENTICATED"}
    assert {over_grpc(locked, f"{scheme} {KEY}") for scheme in ("Bearer", "bearer")} == {"OK"}


def test_health_needs_no_key(locked: Any) -> None:
    assert over_rest(locked, "/health").text == "ok\n"
    credentials = grpc.ssl_channel_credentials(locked.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{locked.options.port}", credentials) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        assert check(HealthCheckRequest(), timeout=20).status == 1


def test_what_is_not_encrypted_is_not_answered(locked: Any) -> None:
    with pytest.raises(httpx.TransportError):
        locked.rest.get("/health")
    with pytest.raises(grpc.RpcError):
        locked.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), timeout=2)


def test_the_client_shows_a_key_and_checks_the_server(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for target in (
        f"grpcs://localhost:{locked.options.port}/edges",
        f"https://localhost:{locked.options.rest_api_port}/edges",
    ):
        with FewshotClient(target, key="wrong", authority=locked.certificate) as client:
            with pytest.raises(ServerError, match="Set FEWSHOT_API_KEY") as refused:
                client.card()
            assert refused.value.code == "UNAUTHENTICATED"
        monkeypatch.setenv("FEWSHOT_API_KEY", KEY)
        monkeypatch.setenv("FEWSHOT_CA", str(locked.certificate))
        with FewshotClient(target) as client:
            assert client._transport.call("scalar", {"x": np.float32(2)}, 20.0) in ({"y": 3.0}, {"": 3.0})
            assert KEY not in repr(client._allowed)
        monkeypatch.delenv("FEWSHOT_CA")
        with FewshotClient(target, retries=0, timeout=5) as client, pytest.raises(ServerError, match="FEWSHOT_CA"):
            client.card()


def test_keys_are_read_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.keys.LOOK_EVERY", 0.0)
    keys = ApiKeys(write_keys(tmp_path / "keys", KEY))
    assert keys.admits(f"Bearer {KEY}") and not keys.admits(f"Bearer {OTHER_KEY}")
    write_keys(tmp_path / "new", OTHER_KEY).replace(tmp_path / "keys")
    assert keys.admits(f"Bearer {OTHER_KEY}") and not keys.admits(f"Bearer {KEY}")
    (tmp_path / "keys").write_text("nonsense")
    assert keys.admits(f"Bearer {OTHER_KEY}")
    (tmp_path / "keys").unlink()
    assert keys.admits(f"Bearer {OTHER_KEY}")


@pytest.mark.parametrize("text", ["", "# none\n", "secret\n", "ab" * 31, "zz" * 32])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(RecipeError, match="--api_key_file: "):
        ApiKeys(tmp_path / "keys")


def test_certificates_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    for values, words in (
        ({"server_key": ""}, "lacks server_key or server_cert"),
        ({"server_cert": "none"}, "cannot be used"),
        ({"client_verify": True}, "name in custom_ca who signs"),
    ):
        path = write_ssl_config(tmp_path / "ssl.config", key, certificate, **values)
        with pytest.raises(RecipeError, match=words):
            read_tls(path)


def test_clients_may_have_to_show_a_certificate(run_server: Callable, edges: Path, tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    config = write_ssl_config(
        tmp_path / "ssl.config", key, certificate, custom_ca=certificate.read_text(), client_verify=True
    )
    running = run_server({"edges": edges}, ssl_config_file=str(config))
    url = f"https://localhost:{running.options.rest_api_port}/health"
    with pytest.raises(httpx.TransportError):
        httpx.get(url, verify=ssl.create_default_context(cafile=certificate), timeout=20)
    showing = ssl.create_default_context(cafile=certificate)
    showing.load_cert_chain(certificate, key)
    shown = httpx.get(url, verify=showing, timeout=20)
    assert shown.text == "ok\n"
    running.stop()


def test_a_page_of_another_site_is_not_answered(server: Any) -> None:
    """Its name may point here: a browser then sends it the answers."""
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]:80"):
        response = server.rest.get("/v1/models/two", headers={"Host": host})
        assert response.status_code == 403
        assert "not called by this name" in response.json()["error"]
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8501", "[::1]:8501"):
        assert server.rest.get("/v1/models/two", headers={"Host": host}).status_code == 200


def test_names_of_hosts() -> None:
    assert [host_name(host) for host in ("A.b:1", "a", "[::1]:80", "[::1]", "::1")] == ["a.b", "a", "::1", "::1", ":"]
    assert host_names("0.0.0.0", "") == []
    assert host_names("0.0.0.0", "maps.example,") == ["maps.example"]
    assert "localhost" in host_names("127.0.0.1", "")


def test_other_machines_are_let_in_with_keys_or_when_told_so(tmp_path: Path) -> None:
    base = {"model_base_path": "/m", "host": "0.0.0.0"}
    with pytest.raises(RecipeError, match="--api_key_file, or say --allow_anyone"):
        read_flags(None, base)
    assert read_flags(None, {**base, "api_key_file": "keys"}).host == "0.0.0.0"
    assert read_flags(None, {**base, "allow_anyone": True}).host == "0.0.0.0"
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "::", "10.0.0.1", "maps")] == [
        *[True] * 4,
        *[False] * 3,
    ]


def test_a_key_costs_as_long_whichever_is_shown(tmp_path: Path) -> None:
    """All are compared, and none of them up to where it differs."""
    keys = ApiKeys(write_keys(tmp_path / "keys", *(f"key {number}" for number in range(100))))
    compared: list[bytes] = []

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append(other)
            return one == other

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.server.keys.hmac", Counting)
        assert keys.admits("Bearer key 0")
        assert not keys.admits(f"Bearer {time.monotonic()}")
    assert len(compared) == 200
