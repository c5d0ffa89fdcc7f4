"""Encryption for both protocols, from one file as TF Serving has it: a text `SSLConfig` with the PEM texts in it."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc

from fewshot.errors import RecipeError
from serving.server.config import read_text_proto
from serving.server.messages import SslConfig


@dataclass(frozen=True)
class Tls:
    """What a server proves itself with.

    Attributes:
        key: PEM text of its private key.
        certificate: PEM text of its certificates, its own first.
        authority: PEM text of the certificates that clients' own are held against; empty for the system's.
        clients: Whether clients have to show a certificate.
    """

    key: bytes
    certificate: bytes
    authority: bytes = b""
    clients: bool = False

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC takes."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.authority or None,
            require_client_auth=self.clients,
        )

    def context(self) -> ssl.SSLContext:
        """Return what uvicorn takes.

        Raises:
            RecipeError: if key and certificate do not fit, or one is none.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            with tempfile.NamedTemporaryFile() as file:  # Python reads keys from files alone; this one is ours to read
                file.write(self.key + b"\n" + self.certificate)
                file.flush()
                context.load_cert_chain(file.name)
            if self.authority:
                context.load_verify_locations(cadata=self.authority.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise RecipeError(f"--ssl_config_file: key and certificates cannot be used: {error}.") from None
        if self.clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read_tls(path: Path) -> Tls:
    """Read TF Serving's SSLConfig.

    Raises:
        StatusError: NOT_FOUND if the file is not there, INVALID_ARGUMENT if it is not such a message.
        RecipeError: if it lacks the key or the certificate, or has one that cannot be used, or clients are to be
            checked against nothing.
    """
    config = read_text_proto(path, SslConfig())
    if not config.server_key or not config.server_cert:
        raise RecipeError(f"--ssl_config_file: {path} lacks server_key or server_cert, the PEM texts themselves.")
    if config.client_verify and not config.custom_ca:
        raise RecipeError(f"--ssl_config_file: {path} asks for client_verify; name in custom_ca who signs for clients.")
    found = Tls(
        config.server_key.encode(), config.server_cert.encode(), config.custom_ca.encode(), config.client_verify
    )
    found.context()  # what is wrong with them is better said now
    return found
