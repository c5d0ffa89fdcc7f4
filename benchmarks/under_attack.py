"""What do hostile requests cost: time, memory, and the requests of others?

    python benchmarks/under_attack.py [--only NAME ...] [--json FILE]

A model is trained for a moment on pictures of three colours, exported and served by `fewshot serve` in a process of its
own, anew for each attack. Nothing here depends on how the server is written, so that two checkouts can be compared.
Memory is the server's: how far its peak rises above what it holds before, or what it holds afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from PIL import Image
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fewshot.demo import serving as demo  # noqa: E402 (the root must be on the path first)
from fewshot.training.recipe import read_recipe  # noqa: E402
from fewshot.training.train import train  # noqa: E402
from serving.graph.export import export  # noqa: E402

MEGABYTE = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
SIDE = 16
HEAD = b"POST /v1/models/land:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """A server that serves `land`.

    Attributes:
        pid: Its process.
        grpc: Its port of that protocol.
        rest: Its port of that protocol.
    """

    pid: int
    grpc: int
    rest: int

    def memory(self, key: str = "VmRSS") -> float:
        """Return megabytes that it holds, or held at its peak."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

    def forget_peak(self) -> float:
        """Begin a new peak; return what is held now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.memory()

    def seconds(self) -> float:
        """Return the processor time it took so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def ask(self, request: predict_pb2.PredictRequest, timeout: float = 120.0) -> str:
        """Return the code that a request over gRPC ends with."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}", options=[("grpc.max_send_message_length", -1)]) as channel:
            try:
                prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=timeout)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"

    def url(self, path: str) -> str:
        """Return an address of its REST API."""
        return f"http://127.0.0.1:{self.rest}{path}"


def main() -> None:
    """Attack, and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*ATTACKS], default=[*ATTACKS], help="some of the attacks")
    parser.add_argument("--json", type=Path, help="write every sentence to this file")
    options = parser.parse_args()
    demo.PATIENCE = 300.0  # the machine may be busy
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder)
        for attack in options.only:
            with serving(folder) as target:
                found[attack] = ATTACKS[attack](target)
            print(f"{attack}: {found[attack]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def make_model(folder: Path) -> None:
    """Export a network for pictures of any size, trained for a moment, as FOLDER/models/land."""
    rng = np.random.default_rng(0)
    for region in ("hill", "valley"):
        for label, name in enumerate(("barley", "maize", "oats", "village", "water")):
            for number in range(8):
                path = folder / "pictures" / region / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(40 * label + rng.integers(0, 90, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(path)
    settings = ['data.source="class_folders"', 'data.train=["hill"]', 'data.validation=["valley"]', "data.test=[]"]
    settings += ["training.updates=2", "training.validate_every=2", "training.validation_tasks=2"]
    settings += ["training.meta_batch_size=1", 'network.readout="average"']
    train(read_recipe("demo", settings=settings), [folder / "pictures"], folder / "land", verbose=0)
    export(folder / "land", folder / "models")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Target]:
    """Serve the model meanwhile, once it has answered."""
    ports, log = (demo.free_port(), demo.free_port()), folder / "serve.log"
    with demo.server(folder / "models", *ports, log):
        target = Target(process_listening(log), *ports)
        while not answers(target):
            time.sleep(0.1)
        yield target


def process_listening(log: Path) -> int:
    """Return the number of the server's process: the child of this one that writes the log."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and (status.parent / "fd" / "1").resolve() == log.resolve():
                return int(status.parent.name)
    raise SystemExit(f"no server writes {log}")


def answers(target: Target) -> bool:
    """Return whether another client's small request is answered."""
    body = {"signature_name": "card", "inputs": {"document": "card.json"}}
    with contextlib.suppress(httpx.TransportError):
        return httpx.post(target.url("/v1/models/land:predict"), json=body, timeout=20).status_code == 200
    return False


def request_of(signature: str, model: str = "land", **inputs: tensor_pb2.TensorProto) -> predict_pb2.PredictRequest:
    """Return a request of these tensors."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    return request


def tensor(dtype: int, shape: list[int], **values: Any) -> tensor_pb2.TensorProto:
    """Return a tensor that may claim more than it holds."""
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def of_array(array: np.ndarray | np.int32) -> tensor_pb2.TensorProto:
    """Return a tensor of float32 or int32 that holds all of its values."""
    dtype = types_pb2.DT_FLOAT if array.dtype == np.float32 else types_pb2.DT_INT32
    return tensor(dtype, list(array.shape), tensor_content=array.tobytes())


def work(pictures: int, side: int, steps: int) -> predict_pb2.PredictRequest:
    """Return a request to adapt to so many pictures, which are sent."""
    images = np.random.default_rng(0).integers(0, 255, (pictures, side, side, 3)).astype(np.float32)
    labels = np.arange(pictures, dtype=np.int32) % 3
    return request_of("adapt", support_x=of_array(images), support_y=of_array(labels), steps=of_array(np.int32(steps)))


def png(side: int) -> bytes:
    """Return a picture of one colour, a thousand times smaller than what it unpacks to."""
    pixels = zlib.compress(b"\0" * (1 + 3 * side) * side, 9)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def peak_of(target: Target, request: predict_pb2.PredictRequest) -> str:
    """Say what one request over gRPC costs."""
    before, begun = target.forget_peak(), time.perf_counter()
    code = target.ask(request)
    seconds, peak = time.perf_counter() - begun, target.memory("VmHWM") - before
    return f"{request.ByteSize()} bytes: {code} after {seconds:.2f} s, peak memory +{peak:.0f} MB"


def declared_lengths(target: Target) -> str:
    """Declare four of the largest requests and send nothing of them."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", target.rest)))
            client.sendall(
                b"POST /v1/models/land:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 268435456\r\n\r\n"
            )
        time.sleep(0.5)
        return "another client is " + ("answered" if answers(target) else "refused")


def slow_heads(target: Target) -> str:
    """Open two hundred connections and send half a head on each."""
    clients = []
    for _ in range(200):
        clients.append(socket.create_connection(("127.0.0.1", target.rest)))
        clients[-1].sendall(b"POST /v1/mod")
    time.sleep(15)
    is_open = 0
    for client in clients:
        client.settimeout(0.01)
        try:
            is_open += client.recv(1) != b""
        except TimeoutError:
            is_open += 1
        except OSError:
            pass
        client.close()
    return f"{is_open} of 200 connections are still held after 15 s"


def claimed_shape(target: Target) -> str:
    """Send one number, and claim a hundred million, for a signature that wants two tensors."""
    claimed = tensor(types_pb2.DT_FLOAT, [100 << 20], float_val=[1.0])
    return peak_of(target, request_of("predict", query_x=claimed, adapted=claimed))


def claimed_strings(target: Target) -> str:
    """Send one file of a megabyte, and claim two hundred."""
    claimed = tensor(types_pb2.DT_STRING, [200], string_val=[b"a" * MEGABYTE])
    labels, steps = of_array(np.zeros(200, np.int32)), of_array(np.int32(1))
    encoded = {"support_bytes": claimed, "query_bytes": claimed, "support_y": labels, "steps": steps}
    return peak_of(target, request_of("adapt_and_predict_encoded", **encoded))


def many_axes(target: Target) -> str:
    """Send a string of forty axes, which ended the process."""
    code = target.ask(request_of("card", document=tensor(types_pb2.DT_STRING, [1] * 40, string_val=[b"card.json"])))
    return f"{code}, and another client is " + ("answered" if answers(target) else "refused")


def invented_names(target: Target) -> str:
    """Ask for three hundred models that are not there, each by a name of 100 kB."""
    before = target.memory()
    for number in range(300):
        target.ask(request_of("predict", model=f"{number}" + "n" * 100_000))
    page = len(httpx.get(target.url("/monitoring/prometheus/metrics"), timeout=60).content)
    return f"memory +{target.memory() - before:.0f} MB, the page of metrics has {page / 1000:.0f} kB"


def refused_tensors(target: Target) -> str:
    """Have thirty requests of 32 MB refused, three kinds of them."""
    large = of_array(np.ones(8 << 20, np.float32))
    requests = [
        request_of("nothing", query_x=large),
        request_of("predict", query_x=large, more=large),
        request_of("predict", query_x=large, adapted=of_array(np.ones(3, np.float32))),
    ]
    for request in requests:
        target.ask(request)
    before = target.forget_peak()
    for number in range(30):
        target.ask(requests[number % 3])
    after, peak = target.memory() - before, target.memory("VmHWM") - before
    return f"memory afterwards {after:+.0f} MB, peak +{peak:.0f} MB"


def picture_bombs(target: Target) -> str:
    """Send four pictures of 3000x3000 pixels, 26 kB each, twice."""
    files = tensor(types_pb2.DT_STRING, [4], string_val=[png(3000)] * 4)
    labels, steps = of_array(np.arange(4, dtype=np.int32) % 2), of_array(np.int32(1))
    encoded = {"support_bytes": files, "query_bytes": files, "support_y": labels, "steps": steps}
    return peak_of(target, request_of("adapt_and_predict_encoded", **encoded))


def costly_request(target: Target) -> str:
    """Ask for the most that the card's limits allow, in a message of 200 bytes; wait a minute for it."""
    request = request_of(
        "adapt",
        support_x=tensor(types_pb2.DT_FLOAT, [512, 256, 256, 3], float_val=[1.0]),
        support_y=tensor(types_pb2.DT_INT32, [512], int_val=[0, 1]),
        steps=of_array(np.int32(50)),
    )
    before, begun, processor = target.forget_peak(), time.perf_counter(), target.seconds()
    code = target.ask(request, timeout=60)
    seconds, peak = time.perf_counter() - begun, target.memory("VmHWM") - before
    taken = target.seconds() - processor
    return f"{code} after {seconds:.1f} s, {taken:.0f} s of processor time, peak memory +{peak:.0f} MB"


def cancelled(target: Target) -> str:
    """Go away two seconds after asking for fifty steps on 32 pictures of 128x128."""
    target.ask(work(8, SIDE, 1))
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc}") as channel:
        future = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(
            work(32, 128, 50), timeout=600
        )
        time.sleep(2)
        future.cancel()
        return after_leaving(target)


def disconnected(target: Target) -> str:
    """The same over REST."""
    target.ask(work(8, SIDE, 1))
    pictures = np.random.default_rng(0).integers(0, 255, (32, 128, 128, 3)).tolist()
    inputs = {"support_x": pictures, "support_y": [number % 3 for number in range(32)], "steps": 50}
    body = json.dumps({"signature_name": "adapt", "inputs": inputs}).encode()
    with socket.create_connection(("127.0.0.1", target.rest)) as client:
        client.sendall(HEAD % len(body) + body)
        time.sleep(4)
    return after_leaving(target)


def after_leaving(target: Target) -> str:
    """Say how much processor time is taken after the client is gone."""
    begun, left, idle_since = time.perf_counter(), target.seconds(), None
    last = left
    while time.perf_counter() - begun < 60:
        time.sleep(0.2)
        now = target.seconds()
        if now - last > 0.05:
            idle_since = None
        elif idle_since is None:
            idle_since = time.perf_counter()
        elif time.perf_counter() - idle_since > 2:
            break
        last = now
    return f"{target.seconds() - left:.1f} s of processor time after the client has gone"


def others_wait(target: Target, make: Callable[[], bytes]) -> str:
    """Measure another client's health checks while a document is read."""
    body = make()
    waits: list[float] = []
    answer: list[int] = []

    def attack() -> None:
        answer.append(httpx.post(target.url("/v1/models/land:predict"), content=body, timeout=600).status_code)

    attacking = threading.Thread(target=attack)
    attacking.start()
    while attacking.is_alive() or len(waits) < 20:
        begun = time.perf_counter()
        httpx.get(target.url("/health"), timeout=600)
        waits.append(time.perf_counter() - begun)
        time.sleep(0.01)
    attacking.join()
    typical, longest = 1000 * statistics.median(waits), 1000 * max(waits)
    return f"{len(body)} bytes: {answer}; health is answered in {typical:.0f} ms, at most {longest:.0f} ms"


DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "endless string": lambda: b'{"inputs": "' + b'\\"' * 12_000,
    "missing comma": lambda: b'{"inputs": {"support_x": [' + b"[]," * (70 * MEGABYTE) + b"1 1]}}",
    "long rows": lambda: b'{"instances": [' + b"1," * (100 * MEGABYTE) + b"1]}",
    "long columns": lambda: b'{"inputs": {"support_x": [' + b"1," * (100 * MEGABYTE) + b"1]}}",
    "names of inputs": lambda: b'{"inputs": {' + b",".join(b'"%d":1' % n for n in range(16 * MEGABYTE)) + b"}}",
}
ATTACKS: dict[str, Callable[[Target], str]] = {
    "declared lengths": declared_lengths,
    "slow heads": slow_heads,
    "claimed shape": claimed_shape,
    "claimed strings": claimed_strings,
    "many axes": many_axes,
    "invented names": invented_names,
    "refused tensors": refused_tensors,
    "picture bombs": picture_bombs,
    "costly request": costly_request,
    "cancelled": cancelled,
    "disconnected": disconnected,
    **{name: partial(others_wait, make=make) for name, make in DOCUMENTS.items()},
}


if __name__ == "__main__":
    main()
