"""A certificate for this machine, signed by itself, made when it is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a key and of its certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here, which makes the certificate")
    key, certificate = folder / "server.key", folder / "server.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:P-256", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


def write_ssl_config(path: Path, key: Path, certificate: Path, **more: str | bool) -> Path:
    """TF Serving's SSLConfig as text."""
    values = {"server_key": key.read_text(), "server_cert": certificate.read_text(), **more}
    path.write_text("\n".join(f"{name}: {json.dumps(value)}" for name, value in values.items()))
    return path
