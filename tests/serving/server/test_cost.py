"""What a request will take is known from its shapes, and what takes too much is refused before it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2

from fewshot.errors import FewshotError
from fewshot.exported.card import AUTO_STEPS, InputSize, Limits, PixelCost
from fewshot.exported.client import FewshotClient
from fewshot.exported.status import StatusError
from serving.graph.cost import pixel_cost
from serving.server.cost import Work, work_of
from serving.server.limits import Admission, ServerLimits
from serving.server.pictures import picture_size
from tests.exported.test_card import CARD

PIXEL = replace(CARD, cost=PixelCost(flop=1e9, numbers=250_000.0), size=InputSize(8, 8, True, 4, 64), limits=Limits())
"""A gigaflop and a megabyte for each pixel."""


def picture(rows: int, columns: int, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros((rows, columns, 3), np.uint8)).save(file, kind, **options)
    return file.getvalue()


def claim(*shape: int) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def gflop(**inputs: Any) -> float:
    return work_of(PIXEL, "adapt_and_predict", inputs).gflop


def steps(number: int) -> np.ndarray:
    return np.array(number, np.int32)


def test_steps_are_three_passes_over_the_support() -> None:
    support, query = np.zeros((2, 3, 4, 1), np.float32), np.zeros((5, 3, 4, 1), np.float32)
    assert gflop(query_x=query, adapted=np.zeros(9, np.float32)) == 60
    assert gflop(support_x=support, query_x=query, steps=steps(0)) == 24 * 2 + 60
    assert gflop(support_x=support, query_x=query, steps=steps(10)) == 24 * 32 + 60
    assert gflop(support_x=support, steps=steps(AUTO_STEPS)) > 4 * gflop(support_x=support, steps=steps(50))
    assert work_of(PIXEL, "card", {"document": np.array(b"card.json", object)}) == Work(0, 0)
    assert work_of(replace(PIXEL, cost=None), "adapt", {"support_x": support}) == Work(0, 0)
    assert work_of(PIXEL, "adapt", {"support_x": support}).megabytes == 24


@pytest.mark.parametrize("write", [tf.make_tensor_proto, lambda v: tensor_pb2.TensorProto(int_val=[int(v)])])
def test_messages_and_arrays_cost_the_same(write: Callable[[Any], Any]) -> None:
    claimed = claim(512, 256, 256, 3)
    assert not claimed.float_val, "a short message"
    for number in (0, 50, AUTO_STEPS):
        expected = gflop(support_x=np.broadcast_to(np.float32(0), (512, 256, 256, 3)), steps=steps(number))
        assert gflop(support_x=claimed, steps=write(np.int32(number))) == expected
    assert gflop(support_x=claimed, steps=claim(7)) == gflop(support_x=claimed, steps=steps(0))


def test_files_cost_what_their_heads_say() -> None:
    files = [picture(10, 20, "PNG"), picture(30, 40, "JPEG"), picture(9, 9, "JPEG", progressive=True, exif=b"Exif\0\0")]
    assert [picture_size(file) for file in files] == [(10, 20), (30, 40), (9, 9)]
    assert gflop(query_bytes=np.array(files, object)) == 200 + 1200 + 81
    sent = tensor_pb2.TensorProto(string_val=files[:1])
    sent.tensor_shape.dim.add(size=100)  # the last one stands for those that are not sent
    assert gflop(query_bytes=sent) == 100 * 200


@pytest.mark.parametrize(
    "file",
    [b"", b"GIF89a", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 50, picture(9, 9, "PNG")[:20]],
    ids=["nothing", "GIF", "JPEG cut short", "JPEG of fillers", "PNG cut short"],
)
def test_files_that_do_not_tell_their_size_cost_the_most(file: bytes) -> None:
    assert picture_size(file) is None
    assert gflop(query_bytes=np.array([file], object)) == 64 * 64


def test_what_is_pending_has_a_limit_and_one_alone_may_take_more() -> None:
    admission = Admission(ServerLimits(1, 1, pending_work=Work(10.0, 100.0)))
    with admission.spending(Work(50.0, 1.0)):
        with (
            pytest.raises(StatusError, match="of 10.00 GFLOP in 100.00 MB") as busy,
            admission.spending(Work(1.0, 1.0)),
        ):
            pass
        assert (busy.value.code, busy.value.http, busy.value.retry_after) == ("RESOURCE_EXHAUSTED", 429, 1.0)
    with admission.spending(Work(5.0, 99.0)), admission.spending(Work(5.0, 1.0)):
        with pytest.raises(StatusError), admission.spending(Work(0.0, 1.0)):
            pass
    with admission.spending(Work(10.0, 100.0)):
        pass
    admission.close()


def test_the_servers_own_limit_goes_before_the_cards() -> None:
    for own, words in (
        (Work(0.0, 0.0), "the most is 20000.00 GFLOP and 4096.00 MB"),
        (Work(7.0, 0.0), "7.00 GFLOP and 4096"),
    ):
        admission = Admission(ServerLimits(1, 1, work=own))
        admission.check_work(Work(7.0, 4096.0), Limits())
        with pytest.raises(StatusError, match=words) as refused:
            admission.check_work(Work(20_001.0, 1.0), Limits())
        assert refused.value.code == "INVALID_ARGUMENT"
        admission.close()


def test_the_cost_on_a_card_is_counted_in_the_network(trained: Any) -> None:
    """Two blocks of 3x3 convolutions with 6 filters on 16x16 pixels of 4 bands, the second after pooling."""
    cost = trained.card.cost
    assert cost == pixel_cost(trained.learner)
    convolutions = 2 * 9 * 4 * 6 + 2 * 9 * 6 * 6 / 4
    assert convolutions < cost.flop < 2 * convolutions
    assert 6 + 6 / 4 < cost.numbers < 100


@pytest.mark.slow
def test_what_takes_too_much_is_refused_by_the_server(run_server: Callable, trained: Any) -> None:
    running = run_server({"land": trained.folder.parent}, max_request_gflop=0.01)
    support_x, labels, query_x = trained.task()
    for target in (f"127.0.0.1:{running.options.port}", f"http://127.0.0.1:{running.options.rest_api_port}"):
        with FewshotClient(target, model="land") as client:
            assert client.adapt_and_predict(support_x, labels, query_x, steps=1).probabilities.shape == (5, 3)
            with pytest.raises(
                FewshotError, match=r"takes about 0.\d+ GFLOP and 0.\d+ MB to compute; the most is 0.01 GFLOP"
            ):
                client.adapt_and_predict(support_x, labels, query_x, steps=50)
    running.stop()


def test_what_was_counted_is_forgotten_when_it_is_done() -> None:
    async def scene() -> None:
        admission = Admission(ServerLimits(1, 1, pending_work=Work(1.0, 1.0)))
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), admission.spending(Work(1.0, 1.0)):
                raise ZeroDivisionError
        assert not admission._work
        admission.close()

    asyncio.run(scene())
