import numpy as np

from fewshot.data.sources.sine import Sine, draw_sines


def test_shapes_ranges_and_repeatability() -> None:
    parts = draw_sines(np.random.default_rng(0), 400, 10, 7)
    assert [part.shape for part in parts] == [(400, 10, 1), (400, 10, 1), (400, 7, 1), (400, 7, 1)]
    assert all(part.dtype == np.float32 for part in parts)
    x = np.concatenate([parts[0], parts[2]], axis=1)
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    y = np.concatenate([parts[1], parts[3]], axis=1)
    assert 4.8 < np.abs(y).max() <= 5.0
    for first, second in zip(parts, draw_sines(np.random.default_rng(0), 400, 10, 7), strict=True):
        np.testing.assert_array_equal(first, second)


def test_support_and_queries_lie_on_one_wave() -> None:
    waves = Sine(amplitude=(2.0, 2.0), frequency=(1.1, 1.1), phase=(0.4, 0.4))
    support_x, support_y, query_x, query_y = draw_sines(np.random.default_rng(1), 3, 5, 6, waves=waves)
    np.testing.assert_allclose(support_y, 2 * np.sin(1.1 * support_x + 0.4), atol=1e-5)
    np.testing.assert_allclose(query_y, 2 * np.sin(1.1 * query_x + 0.4), atol=1e-5)


def test_waves_differ_and_each_keeps_its_own_parameters() -> None:
    # With many examples a wave's greatest value is its amplitude, uniform in 0.1-5.
    _, y, _, _ = draw_sines(np.random.default_rng(2), 300, 400, 1)
    amplitudes = np.abs(y).max(axis=(1, 2))
    assert 2.2 < amplitudes.mean() < 2.9
    assert amplitudes.min() < 0.4


def test_an_oracle_is_told_the_wave() -> None:
    waves = Sine(frequency=(1.0, 1.0), told=True)
    support_x, support_y, query_x, query_y = draw_sines(np.random.default_rng(3), 4, 5, 6, waves=waves)
    assert support_x.shape == (4, 5, waves.inputs)
    for x, y in ((support_x, support_y), (query_x, query_y)):
        place, amplitude, frequency, phase = np.moveaxis(x, 2, 0)
        np.testing.assert_allclose(y[:, :, 0], amplitude * np.sin(frequency * place + phase), atol=1e-5)
    plain = draw_sines(np.random.default_rng(3), 4, 5, 6, waves=Sine(frequency=(1.0, 1.0)))
    np.testing.assert_array_equal(plain[2], query_x[:, :, :1])
