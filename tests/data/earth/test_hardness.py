"""The simulated Earth is hard in the way the real task is: what other regions teach of a class misleads in a new one.

`pytest -s` prints the figures of the slow test, which `docs/results.md` quotes.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fewshot.data.earth.region import simulate_region, visited
from fewshot.geo.landcover import IGBP

SIZE, PATCH, BLOCK = 640, 32, 160
PIXELS = 1500


@dataclass(frozen=True, eq=False)
class Samples:
    """One region's patches and pixels; `train` says which lie in the blocks to learn from, none of them in the others.

    Attributes:
        features: [patches, 39], mean spectrum and simple texture.
        raw: [patches, values], the pixels.
        labels: [patches], most common class.
        train: [patches].
        pixels: {train: [PIXELS, 13]}.
        pixel_labels: {train: [PIXELS]}.
    """

    features: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    pixels: dict[bool, np.ndarray]
    pixel_labels: dict[bool, np.ndarray]


def read_samples(number: int) -> Samples:
    region = simulate_region(number, size=SIZE, radar=False)
    merged = np.zeros(18, np.int64)
    for index, entry in enumerate(IGBP.classes):
        merged[list(entry.ids)] = index
    kinds, image = merged[region.classes], region.optical * np.float32(1e-4)
    count = SIZE // PATCH
    # [SIZE, SIZE, 13] -> [patches, PATCH, PATCH, 13]
    cut = image.reshape(count, PATCH, count, PATCH, 13).swapaxes(1, 2).reshape(-1, PATCH, PATCH, 13)
    inside = kinds.reshape(count, PATCH, count, PATCH).swapaxes(1, 2).reshape(count * count, -1)
    shares = np.stack([(inside == kind).sum(axis=1) for kind in range(len(IGBP.names))], axis=1)
    texture = [np.log(cut.std((1, 2)) + 1e-4), np.log(np.abs(np.diff(cut, axis=1)).mean((1, 2)) + 1e-4)]
    rows, columns = np.divmod(np.arange(SIZE * SIZE), SIZE)
    board = (rows // BLOCK + columns // BLOCK) % 2 == 0
    rng = np.random.default_rng(number)
    chosen = {part: rng.permutation(np.flatnonzero(board == part))[:PIXELS] for part in (True, False)}
    return Samples(
        features=np.concatenate([cut.mean((1, 2)), *texture], axis=1),
        raw=cut[:, ::2, ::2].reshape(len(cut), -1),
        labels=shares.argmax(axis=1),
        train=board.reshape(SIZE, SIZE)[::PATCH, ::PATCH].ravel(),
        pixels={part: image.reshape(-1, 13)[at] for part, at in chosen.items()},
        pixel_labels={part: kinds.ravel()[at] for part, at in chosen.items()},
    )


def linear(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(features, labels)


def nearest_of_two_shots(own: Samples, rng: np.random.Generator) -> np.ndarray:
    shots = [
        rng.permutation(np.flatnonzero(own.train & (own.labels == kind)))[:2] for kind in set(own.labels[own.train])
    ]
    support = np.concatenate(shots)
    away = ((own.raw[~own.train][:, np.newaxis] - own.raw[support]) ** 2).sum(axis=-1)
    return own.labels[support][away.argmin(axis=1)]


def compare(world: list[Samples], index: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield ways to classify the test part of a region: name, answers, truth."""
    own, others = world[index], [samples for k, samples in enumerate(world) if k != index]
    rng = np.random.default_rng([1, index])
    truth, queries = own.labels[~own.train], own.features[~own.train]
    yield "patches, own region", linear(own.features[own.train], own.labels[own.train]).predict(queries), truth
    far, far_labels = (np.concatenate([getattr(s, name) for s in others]) for name in ("features", "labels"))
    order = rng.permutation(len(far))
    for times in (1, 10):
        chosen = order[: times * int(own.train.sum())]
        name = "patches, other regions" + (", ten times as many" if times > 1 else "")
        yield name, linear(far[chosen], far_labels[chosen]).predict(queries), truth
    yield "patches, nearest of two shots", nearest_of_two_shots(own, rng), truth
    pixels, labels, truth = own.pixels[True], own.pixel_labels[True], own.pixel_labels[False]
    yield "pixels, own region", linear(pixels, labels).predict(own.pixels[False]), truth
    each = -(-PIXELS // len(others))
    far, far_labels = (
        np.concatenate([s.pixels[True][:each] for s in others]),
        np.concatenate([s.pixel_labels[True][:each] for s in others]),
    )
    yield "pixels, other regions", linear(far[:PIXELS], far_labels[:PIXELS]).predict(own.pixels[False]), truth
    for band in range(13):
        alone = np.s_[:, [band]]
        yield f"pixels, band {band}", linear(pixels[alone], labels).predict(own.pixels[False][alone]), truth


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, over regions."""
    return float(values.mean()), float(1.96 * values.std(ddof=1) / len(values) ** 0.5)


def print_by_class(answers: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> None:
    for kind, name in enumerate(IGBP.names):
        line = f"{name:16s}"
        for way in ("patches, own region", "patches, other regions", "pixels, own region", "pixels, other regions"):
            right = [(answer == truth)[truth == kind] for answer, truth in answers[way] if (truth == kind).sum() >= 5]
            if len(right) > 1:
                mean, half = interval(np.array([r.mean() for r in right]))
                line += f" | {100 * mean:5.1f} ± {100 * half:4.1f} ({len(right):2d} regions)"
        print(line)


@pytest.mark.slow
def test_other_regions_mislead_and_one_band_is_not_enough() -> None:
    numbers = [number for number in range(32) if visited(number)[1] == 0]  # each place once
    world = [read_samples(number) for number in numbers]
    answers: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    with threadpool_limits(1):  # the fits are so small that threads only wait for each other
        for index in range(len(world)):
            for way, answer, truth in compare(world, index):
                answers.setdefault(way, []).append((answer, truth))
    scores = {way: np.array([(answer == truth).mean() for answer, truth in told]) for way, told in answers.items()}
    for way, values in scores.items():
        print(f"{way:45s} {100 * interval(values)[0]:5.1f} ± {100 * interval(values)[1]:.1f}")
    print_by_class(answers)

    def least(better: str, worse: str) -> float:
        """The lower end of the 95 % interval of a difference, region by region."""
        mean, half = interval(scores[better] - scores[worse])
        return mean - half

    assert 0.7 < scores["patches, own region"].mean() < 0.95
    assert least("patches, own region", "patches, other regions") > 0.15
    assert least("patches, own region", "patches, other regions, ten times as many") > 0.08
    assert least("patches, own region", "patches, nearest of two shots") > 0.2
    assert 0.75 < scores["pixels, own region"].mean() < 0.97
    assert least("pixels, own region", "pixels, other regions") > 0.15
    assert all(least("pixels, own region", f"pixels, band {band}") > 0.1 for band in range(13))
