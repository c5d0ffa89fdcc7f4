"""Versions come and go: polling, policies, labels, broken versions, warm-up, reloading the configuration."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_pb2, predict_pb2, prediction_log_pb2

from fewshot.exported.status import StatusError
from serving.server.config import ServerConfig, chosen_versions, read_text_proto, single_model_config
from serving.server.inference import run_predict
from serving.server.loading import RECORDS, LoadOptions, load_version
from serving.server.servables import Servable
from serving.server.versions import Versions

PLATFORM = 'model_platform: "tensorflow"'


def config(text: str) -> Any:
    return text_format.Parse(text, ServerConfig())


@pytest.fixture
def base(tf_models: Path, tmp_path: Path) -> Path:
    """A base path of our own with version 123."""
    folder = tmp_path / "models" / "m"
    copy_version(tf_models, folder, "00000123")
    return folder


def copy_version(tf_models: Path, base: Path, name: str) -> Path:
    # Under another name first: a server that looks meanwhile would find half a version.
    half = base / f".half-{name}"
    shutil.copytree(tf_models / "saved_model_half_plus_two_2_versions" / "00000123", half)
    half.chmod(0o755)
    return half.rename(base / name)


def make_versions(load: LoadOptions | None = None, **options: Any) -> Versions:
    return Versions(partial(load_version, options=load or LoadOptions()), **options)


@pytest.fixture
def start() -> Any:
    """Starts to serve one model without a server; stopped at the end."""
    made: list[Versions] = []

    def run(base: Path, load: LoadOptions | None = None, **options: Any) -> Versions:
        versions = make_versions(load, **{"poll_seconds": 0, **options})
        made.append(versions)
        versions.start(single_model_config({"m": base}))
        return versions

    yield run
    for versions in made:
        versions.stop()


def served(versions: Versions, name: str = "m") -> list[int]:
    return sorted(v for v, s in versions.states(model_pb2.ModelSpec(name=name)).items() if s.stage == "AVAILABLE")


def answer(servable: Servable, value: float = 2.0) -> float:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([value], np.float32)))
    return run_predict(servable, request).outputs["y"].float_val[0]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [5]),
        ("latest { num_versions: 2 }", [5, 3]),
        ("latest {}", [5]),
        ("all {}", [5, 3, 1]),
        ("specific { versions: 1 versions: 5 versions: 9 }", [5, 1]),
    ],
)
def test_policies(policy: str, expected: list[int]) -> None:
    model = config(
        f"model_config_list {{ config {{ model_version_policy {{ {policy} }} }} }}"
    ).model_config_list.config[0]
    folders = {n: Path(str(n)) for n in (1, 3, 5)}
    assert list(chosen_versions(model.model_version_policy, folders)) == expected


def test_a_new_version_takes_over_and_the_old_one_is_unloaded(base: Path, tf_models: Path, start: Callable) -> None:
    versions = start(base)
    old = versions.find(model_pb2.ModelSpec(name="m"))
    copy_version(tf_models, base, "200")
    versions.poll()
    assert served(versions) == [200]
    assert versions.find(model_pb2.ModelSpec(name="m")).version == 200
    states = versions.states(model_pb2.ModelSpec(name="m"))
    assert [(v, s.stage, s.code) for v, s in states.items()] == [(200, "AVAILABLE", "OK"), (123, "END", "OK")]
    with pytest.raises(StatusError) as caught, old.in_use():
        pass
    assert caught.value.code == "UNAVAILABLE"


def test_a_request_that_runs_keeps_its_version_open(base: Path, tf_models: Path, start: Callable) -> None:
    versions = start(base)
    with versions.find(model_pb2.ModelSpec(name="m")).in_use() as old:
        copy_version(tf_models, base, "200")
        versions.poll()
        assert served(versions) == [200]
        assert answer(old) == 3.0


def test_a_version_that_is_unloaded_as_it_is_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []

    def load(name: str, version: int, folder: Path) -> Servable:
        return Servable(name, version, Mock(close=lambda: closed.append(version)))

    (tmp_path / "1").mkdir()
    versions = Versions(load, poll_seconds=0)
    versions.start(single_model_config({"m": tmp_path}))
    unloading = threading.Thread(target=versions.poll)
    in_use = Servable.in_use

    def another_comes(self: Servable) -> Any:
        (tmp_path / "2").mkdir()
        unloading.start()
        unloading.join(0.2)
        return in_use(self)

    with monkeypatch.context() as patch:
        patch.setattr(Servable, "in_use", another_comes)
        with versions.using(model_pb2.ModelSpec(name="m")) as servable:
            unloading.join()
            assert (servable.version, served(versions), closed) == (1, [2], [])
    assert closed == [1]
    versions.stop()


def test_a_broken_new_version_leaves_the_old_one_serving_until_it_is_mended(
    base: Path, tf_models: Path, start: Callable
) -> None:
    versions = start(base)
    shutil.copytree(tf_models / "bad_half_plus_two" / "00000123", base / "300")
    versions.poll()
    assert served(versions) == [123]
    broken = versions.states(model_pb2.ModelSpec(name="m"))[300]
    assert (broken.stage, broken.code) == ("END", "NOT_FOUND")
    assert "Could not find SavedModel .pb or .pbtxt at supplied export directory path" in broken.message
    assert answer(versions.find(model_pb2.ModelSpec(name="m"))) == 3.0

    shutil.rmtree(base / "300")
    copy_version(tf_models, base, "300")
    versions.poll()
    assert served(versions) == [300]


def test_a_damaged_graph_and_missing_variables_are_failures_not_crashes(
    base: Path, tf_models: Path, start: Callable
) -> None:
    versions = start(base)
    graph = copy_version(tf_models, base, "300") / "saved_model.pb"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:1000])
    for file in (copy_version(tf_models, base, "301") / "variables").iterdir():
        file.parent.chmod(0o755)
        file.unlink()
    (base / "302").mkdir()
    versions.poll()
    assert served(versions) == [123]
    states = versions.states(model_pb2.ModelSpec(name="m"))
    assert states[302].code == "NOT_FOUND"
    copied = config(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" {PLATFORM} '
        "model_version_policy { all {} } } }"
    )
    versions.configure(copied)
    codes = {v: s.code for v, s in versions.states(model_pb2.ModelSpec(name="m")).items() if s.stage == "END"}
    assert codes == {300: "DATA_LOSS", 301: "NOT_FOUND", 302: "NOT_FOUND"}


def test_a_base_path_that_disappears_changes_nothing(base: Path, start: Callable) -> None:
    versions = start(base)
    base.rename(base.with_name("away"))
    versions.poll()
    assert served(versions) == [123]
    assert answer(versions.find(model_pb2.ModelSpec(name="m"))) == 3.0
    base.with_name("away").rename(base)
    versions.poll()
    assert served(versions) == [123]


def test_versions_that_are_taken_away_are_unloaded(base: Path, tf_models: Path, start: Callable) -> None:
    copy_version(tf_models, base, "200")
    versions = start(base)
    shutil.rmtree(base / "200")
    versions.poll()
    assert served(versions) == [123]
    shutil.rmtree(base / "00000123")
    versions.poll()
    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(m\)"):
        versions.find(model_pb2.ModelSpec(name="m"))


def test_polling_finds_a_new_version_by_itself(base: Path, tf_models: Path, start: Callable) -> None:
    versions = start(base, poll_seconds=0.05)
    thread = versions.watch()
    copy_version(tf_models, base, "200")
    waited = threading.Event()
    for _ in range(200):
        if served(versions) == [200]:
            break
        waited.wait(0.05)
    assert served(versions) == [200]
    versions.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_model_without_versions_is_waited_for(base: Path, tf_models: Path) -> None:
    shutil.rmtree(base / "00000123")
    versions = make_versions(poll_seconds=0.05)
    thread = threading.Thread(target=versions.start, args=(single_model_config({"m": base}),))
    thread.start()
    copy_version(tf_models, base, "1")
    thread.join(30)
    assert served(versions) == [1]
    versions.stop()


def test_a_start_that_cannot_work_says_why(base: Path, tf_models: Path, tmp_path: Path) -> None:
    def failure(models: Any) -> StatusError:
        versions = make_versions(poll_seconds=0)
        with pytest.raises(StatusError) as caught:
            versions.start(models)
        versions.stop()
        return caught.value

    missing = failure(single_model_config({"m": tmp_path / "nowhere"}))
    assert missing.code == "INVALID_ARGUMENT"
    assert f"Could not find base path {tmp_path / 'nowhere'} for servable m" in str(missing)
    bad = failure(single_model_config({"m": tf_models / "bad_half_plus_two"}))
    assert bad.code == "UNKNOWN"
    assert "1 model(s) did not become available: {{{name: m version: 123} due to error: NOT_FOUND" in str(bad)
    model = f'config {{ name: "m" base_path: "{base}" {PLATFORM} }}'
    assert "multiple times in config list" in str(failure(config(f"model_config_list {{ {model} {model} }}")))
    relative = f'model_config_list {{ config {{ name: "m" base_path: "m" {PLATFORM} }} }}'
    assert "to have an absolute path or URI; got base_path()=m" in str(failure(config(relative)))
    other = f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "other" }} }}'
    assert str(failure(config(other))) == "Model m requests unsupported platform other"
    bare = f'model_config_list {{ config {{ name: "m" base_path: "{base}" }} }}'
    assert "Illegal setting neither" in str(failure(config(bare)))


def test_configuration_files(tf_models: Path, tmp_path: Path) -> None:
    good = read_text_proto(tf_models / "good_model_config.txt", ServerConfig())
    assert [model.name for model in good.model_config_list.config] == ["half_plus_two", "half_plus_three"]
    bad = tf_models / "bad_model_config.txt"
    with pytest.raises(StatusError, match=f"Invalid protobuf file: '{bad}'") as refused:
        read_text_proto(bad, ServerConfig())
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:" in str(refused.value)
    with pytest.raises(StatusError) as caught:
        read_text_proto(tmp_path / "nowhere.config", ServerConfig())
    assert caught.value.code == "NOT_FOUND"


def test_labels_need_a_version_that_serves(base: Path, tf_models: Path) -> None:
    copy_version(tf_models, base, "200")

    def labelled(version: int) -> Any:
        return config(
            f'model_config_list {{ config {{ name: "m" base_path: "{base}" {PLATFORM} '
            f'model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: {version} }} }} }}'
        )

    versions = make_versions(poll_seconds=0)
    versions.start(labelled(123))
    by_label = model_pb2.ModelSpec(name="m", version_label="stable")
    assert versions.find(by_label).version == 123
    versions.configure(labelled(200))
    assert versions.find(by_label).version == 200
    with pytest.raises(StatusError) as caught:
        versions.configure(labelled(7))
    assert caught.value.code == "FAILED_PRECONDITION"
    assert str(caught.value) == (
        "Request to assign label to version 7 of model m, which is not currently available for inference"
    )
    assert versions.find(by_label).version == 200
    versions.stop()

    early = make_versions(poll_seconds=0, labels_before_load=True)
    early.start(labelled(7))
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 7\)"):
        early.find(by_label)
    early.stop()


def write_warm_up(folder: Path, *logs: prediction_log_pb2.PredictionLog) -> None:
    (folder / RECORDS).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def warm_up_log(signature: str = "") -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([1], np.float32)))
    return log


def test_warm_up_records_are_replayed(base: Path, start: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    plain = Servable.run

    def run(self: Servable, *arguments: Any, **options: Any) -> Any:
        ran.append(arguments)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Servable, "run", run)
    regress = prediction_log_pb2.PredictionLog()
    regress.regress_log.request.model_spec.signature_name = "regress_x_to_y"
    example = regress.regress_log.request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(1.0)
    write_warm_up(base / "00000123", warm_up_log(), regress, prediction_log_pb2.PredictionLog())
    start(base, load=LoadOptions(warm_up_iterations=3))
    assert len(ran) == 6


@pytest.mark.parametrize(
    ("logs", "code", "words"),
    [
        ([warm_up_log("zz")], "FAILED_PRECONDITION", 'Serving signature key "zz" not found.'),
        ([warm_up_log()] * 1001, "INVALID_ARGUMENT", "Number of warmup records exceeds the maximum (1000)"),
        (
            [prediction_log_pb2.PredictionLog(session_run_log={})],
            "UNIMPLEMENTED",
            "Unsupported log_type for warmup: session_run_log",
        ),
        (None, "DATA_LOSS", "Please verify your warmup data is in TFRecord format."),
    ],
    ids=["unknown signature", "too many", "unsupported", "no records"],
)
def test_a_version_whose_warm_up_fails_does_not_serve(
    base: Path, tf_models: Path, start: Callable, logs: list | None, code: str, words: str
) -> None:
    versions = start(base)
    folder = copy_version(tf_models, base, "200")
    if logs is None:
        (folder / RECORDS).parent.mkdir()
        (folder / RECORDS).write_bytes(b"this is not a record at all")
    else:
        write_warm_up(folder, *logs)
    versions.poll()
    assert served(versions) == [123]
    state = versions.states(model_pb2.ModelSpec(name="m"))[200]
    assert state.code == code
    assert words in state.message


def test_reloading_the_configuration_over_grpc(run_server: Callable, base: Path, tf_models: Path) -> None:
    running = run_server({"m": base})
    request = model_management_pb2.ReloadConfigRequest()
    request.config.CopyFrom(single_model_config({"three": tf_models / "saved_model_half_plus_three"}))
    response = running.models.HandleReloadConfigRequest(request, timeout=60)
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert running.post("/v1/models/three:predict", {"instances": [2.0]}).json() == {"predictions": [4.0]}
    gone = running.post("/v1/models/m:predict", {"instances": [2.0]})
    assert (gone.status_code, gone.json()["error"]) == (404, "Servable not found for request: Latest(m)")
    assert running.rest.get("/v1/models/m").json()["model_version_status"][0]["state"] == "END"

    def refusal(wanted: Any) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            running.models.HandleReloadConfigRequest(wanted, timeout=60)
        return caught.value.code().name, caught.value.details()

    code, words = refusal(model_management_pb2.ReloadConfigRequest())
    assert code == "INVALID_ARGUMENT"
    assert words.startswith("ServerModelConfig type not supported by HandleReloadConfigRequest.")
    request.config.CopyFrom(single_model_config({"gone": base.parent / "nowhere"}))
    assert refusal(request)[0] == "INVALID_ARGUMENT"
    request.config.CopyFrom(single_model_config({"bad": tf_models / "bad_half_plus_two"}))
    code, words = refusal(request)
    assert code == "UNKNOWN"
    assert "1 model(s) did not become available" in words
    running.stop()
