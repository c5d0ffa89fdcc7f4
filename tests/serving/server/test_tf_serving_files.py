"""Dockerfile and configuration, read as Docker and TensorFlow Serving read them; no Docker is needed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml  # type: ignore[import-untyped]
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import cli

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "serving" / "tf_serving"
FINAL = ("cli", "cli-gpu", "serving", "serving-gpu")


class Instruction(NamedTuple):
    word: str
    rest: str


def read_dockerfile() -> tuple[dict[str, str], dict[str, list[Instruction]]]:
    """The global arguments, and the instructions of each stage, its FROM first."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    stages: dict[str, list[Instruction]] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        if word == "ARG" and not stages:
            name, value = rest.split("=")
            arguments[name] = value
        elif word == "FROM":
            name = rest.split(" AS ")[1]
            assert name not in stages
            stages[name] = [Instruction(word, rest.split(" AS ")[0])]
        else:
            list(stages.values())[-1].append(Instruction(word, rest))
    return arguments, stages


ARGUMENTS, STAGES = read_dockerfile()


def image_of(stage: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: ARGUMENTS[found[1]], STAGES[stage][0].rest)


def lineage(stage: str) -> list[Instruction]:
    """The instructions of a stage and of those it is built on."""
    base = image_of(stage)
    return [*(lineage(base) if base in STAGES else []), *STAGES[stage][1:]]


def test_the_stages_are_those_that_are_offered() -> None:
    assert set(FINAL) < set(STAGES)
    assert list(STAGES)[-1] == "serving"  # what `docker build .` makes


@pytest.mark.parametrize("stage", STAGES)
def test_images_are_pinned_and_instructions_known(stage: str) -> None:
    image = image_of(stage)
    if image not in STAGES and image != "scratch":
        assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+[\w.-]*", image), f"{image} is not pinned to a release"
    known = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {instruction.word for instruction in STAGES[stage]} <= known


def test_versions_are_those_the_program_is_tested_with() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert f"\ntensorflow-serving-api=={ARGUMENTS['TF_SERVING']}\n" in lock
    assert ARGUMENTS["PYTHON"].startswith("3.11.")


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_copied_exists(stage: str) -> None:
    order = list(STAGES)
    for instruction in STAGES[stage]:
        if instruction.word != "COPY":
            continue
        words = instruction.rest.split()
        source = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
        paths = [word for word in words if not word.startswith("--")][:-1]
        if source is not None:
            assert order.index(source) < order.index(stage)
        else:
            assert paths
            assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("stage", FINAL)
def test_images_run_without_privileges_and_build_tools(stage: str) -> None:
    instructions = lineage(stage)
    users = [instruction.rest for instruction in instructions if instruction.word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    last_user = max(i for i, instruction in enumerate(instructions) if instruction.word == "USER")
    assert "RUN" not in {instruction.word for instruction in instructions[last_user:]}
    commands = " ".join(instruction.rest for instruction in instructions if instruction.word == "RUN")
    assert not re.search(r"\b(gcc|g\+\+|build-essential|make|git|curl|wget|pip)\b", commands)
    for word in ("ENTRYPOINT", "CMD"):
        (rest,) = [instruction.rest for instruction in instructions if instruction.word == word]
        assert isinstance(json.loads(rest), list), "the exec form passes signals on"


def test_the_environment_is_installed_as_it_is_tested() -> None:
    commands = " ".join(instruction.rest for instruction in STAGES["build"] if instruction.word == "RUN")
    assert commands.count("--constraint requirements.lock") == 1
    assert "pip check" in commands
    copied = " ".join(instruction.rest for instruction in STAGES["build"] if instruction.word == "COPY").split()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for needed in ("pyproject.toml", "README.md", "LICENSE", "cli.py", "fewshot", "serving", "data_manifests"):
        assert needed in copied
        assert needed == "pyproject.toml" or needed in project


def fewshot_commands() -> list[list[str]]:
    """The commands of ours that the image of a model runs."""
    runs = [instruction.rest for instruction in STAGES["train"] if instruction.word == "RUN"]
    return [shlex.split(command)[1:] for command in runs if command.startswith("fewshot ")]


def test_its_commands_are_commands_of_ours() -> None:
    commands = fewshot_commands()
    assert [words[0] for words in commands] == ["train", "export"]
    context = click.Context(cli.main)
    for words in commands:
        command = cli.main.get_command(context, words[0])
        assert command is not None
        command.make_context(words[0], words[1:], parent=context)


@pytest.mark.slow
def test_its_commands_make_the_model_that_is_served(tmp_path: Path) -> None:
    for words in fewshot_commands():
        here = [word.replace("/tmp", str(tmp_path)) for word in words]  # noqa: S108 (the image's own)
        quick = ["--set", "training.updates=20", "--set", "training.validate_every=20"] if here[0] == "train" else []
        cli.main(here + quick, standalone_mode=False)
    model = served_model()
    source = STAGES["model"][1].rest.split()[1].replace("/tmp", str(tmp_path))  # noqa: S108
    assert (Path(source) / model.name / "1" / "saved_model.pb").exists()
    assert model.base_path == f"/models/{model.name}"


def served_model() -> Any:
    text = (FOLDER / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def test_models_config_is_one_and_agrees_with_the_image() -> None:
    model = served_model()
    assert (model.model_platform, model.base_path) == ("tensorflow", f"/models/{model.name}")
    assert model.model_version_policy.latest.num_versions == 2
    exported = fewshot_commands()[1]
    assert exported[exported.index("--name") + 1] == model.name


@pytest.mark.parametrize("stage", ["serving", "serving-gpu"])
def test_the_server_is_started_with_the_files_that_are_copied(stage: str) -> None:
    rest = {instruction.word: instruction.rest for instruction in STAGES[stage]}
    flags = dict(flag.removeprefix("--").split("=") for flag in json.loads(rest["CMD"]))
    assert not [name for name in flags if "batching" in name]
    copies = [i.rest.split() for i in STAGES[stage] if i.word == "COPY" and "--from" not in i.rest]
    placed = {words[-1] + Path(path).name for words in copies for path in words[:-1]}
    assert {flags["model_config_file"], flags["monitoring_config_file"]} == placed
    assert {flags["port"], flags["rest_api_port"]} == set(rest["EXPOSE"].split())
    assert [i for i in STAGES["serving"][1:]] == [i for i in STAGES["serving-gpu"][1:]]


def test_monitoring_config_names_prometheus_path() -> None:
    text = re.sub(r"#.*", "", (FOLDER / "monitoring.config").read_text(encoding="utf-8"))
    assert re.fullmatch(
        r'\s*prometheus_config\s*{\s*enable:\s*true\s+path:\s*"/monitoring/prometheus/metrics"\s*}\s*', text
    )


def compose() -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = content["services"].values()
    return service


def test_compose_builds_an_image_of_ours_and_mounts_what_exists() -> None:
    service = compose()
    assert (FOLDER / service["build"]["context"]).resolve() == ROOT
    assert service["build"]["target"] in STAGES
    mounts = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":") for volume in service["volumes"]]
    assert all(mode == "ro" for _, _, mode in mounts)
    assert {target for _, target, _ in mounts} >= {"/models", "/etc/fewshot/models.config"}
    assert [source for source, _, _ in mounts if source.startswith("./") and not (FOLDER / source).exists()] == []
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_limits_what_the_server_may_take() -> None:
    service = compose()
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["healthcheck"]["interval"]


@pytest.fixture
def status_server() -> Iterator[Any]:
    """Answers any GET with the state a test gives it, as TensorFlow Serving writes it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (http.server's name)
            entry = {"version": "1", "state": server.state, "status": {"error_code": "OK", "error_message": ""}}
            data = json.dumps({"model_version_status": [entry]}).encode()
            self.send_response(200 if self.path == "/v1/models/land" else 404)
            self.end_headers()
            self.wfile.write(data if self.path == "/v1/models/land" else b"{}")

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        state = "AVAILABLE"

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def health_checks() -> dict[str, list[str]]:
    """The commands that ask for the server's health, by file."""
    (image,) = [i.rest for i in STAGES["serving"] if i.word == "HEALTHCHECK"]
    return {"Dockerfile": shlex.split(image.partition("CMD ")[2]), "compose.yaml": compose()["healthcheck"]["test"][1:]}


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml"])
def test_the_health_check_tells_a_healthy_server(file: str, status_server: Any) -> None:
    if shutil.which("bash") is None:
        pytest.skip("the check is written for bash")
    *command, script = health_checks()[file]
    assert command == ["bash", "-c"]
    assert "/8501 " in script

    def healthy(port: int) -> bool:
        asked = [*command, script.replace("/8501 ", f"/{port} ")]
        return subprocess.run(asked, capture_output=True, check=False, timeout=20).returncode == 0

    assert healthy(status_server.server_port)
    status_server.state = "LOADING"
    assert not healthy(status_server.server_port)
    assert not healthy(9)


def test_the_readme_says_that_batching_must_be_off() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "## Batching must be off" in text
    for file in ("models.config", "monitoring.config", "compose.yaml"):
        assert f"`{file}`" in text
