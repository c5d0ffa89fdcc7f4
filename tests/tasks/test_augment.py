import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.tasks.augment import Augmentation, make_augment
from fewshot.tasks.task import TaskBatch


def seed(number: int = 0) -> tf.Tensor:
    return tf.constant([3, number], tf.int64)


def batch_of(support: np.ndarray, query: np.ndarray) -> TaskBatch:
    labels = tf.zeros(support.shape[:2], tf.int32)
    return TaskBatch(tf.constant(support), labels, tf.constant(query), tf.zeros(query.shape[:2], tf.int32))


@pytest.fixture
def batch() -> TaskBatch:
    rng = np.random.default_rng(0)
    return batch_of(
        rng.uniform(size=(3, 8, 6, 6, 2)).astype(np.float32), rng.uniform(size=(3, 5, 6, 6, 2)).astype(np.float32)
    )


def apply(batch: TaskBatch, number: int = 0, **fields: object) -> TaskBatch:
    augment = make_augment(Augmentation(**fields))  # type: ignore[arg-type]
    assert augment is not None
    changed = augment(batch, seed(number))
    assert changed.support_x.shape == batch.support_x.shape
    assert changed.query_x.shape == batch.query_x.shape
    assert changed.support_y is batch.support_y
    return changed


def view_of(before: np.ndarray, after: np.ndarray) -> tuple[int, bool]:
    """Which of the eight views of a square `after` shows."""
    for turn in range(4):
        for flip in (False, True):
            turned = np.rot90(before, turn)
            if np.array_equal(turned[:, ::-1] if flip else turned, after):
                return turn, flip
    raise AssertionError("not a view of the same image")


def views(before: TaskBatch, after: TaskBatch) -> list[list[tuple[int, bool]]]:
    old = np.concatenate([before.support_x, before.query_x], axis=1)
    new = np.concatenate([after.support_x, after.query_x], axis=1)
    return [[view_of(a, b) for a, b in zip(*task, strict=True)] for task in zip(old, new, strict=True)]


def test_nothing_asked_for_is_no_function() -> None:
    assert make_augment(Augmentation()) is None
    assert make_augment(Augmentation(fill="reflect", colour_per="task")) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"turns": "image"},
        {"rotation": 20.0},
        {"shift": 0.2},
        {"elastic": 0.1},
        {"brightness": 0.2},
        {"gain": 0.2},
        {"contrast": 0.3},
        {"noise": 0.1},
        {"erase": 0.6},
    ],
)
def test_same_seed_same_change_and_another_another(batch: TaskBatch, fields: dict) -> None:
    first, again, other = apply(batch, 0, **fields), apply(batch, 0, **fields), apply(batch, 1, **fields)
    np.testing.assert_array_equal(first.query_x, again.query_x)
    assert not np.array_equal(first.query_x, other.query_x)
    assert not np.array_equal(first.query_x, batch.query_x)
    assert not np.array_equal(first.support_x, batch.support_x)


def test_turns_and_flips_per_image_show_all_eight_views(batch: TaskBatch) -> None:
    seen = {
        view
        for number in range(4)
        for task in views(batch, apply(batch, number, turns="image", flips="image"))
        for view in task
    }
    assert len(seen) == 8


def test_turns_per_task_turn_support_and_query_alike(batch: TaskBatch) -> None:
    turns = set()
    for number in range(12):
        for task in views(batch, apply(batch, number, turns="task", flips="task")):
            assert len(set(task)) == 1
            turns.add(task[0])
    assert len(turns) == 8


def test_turns_need_squares() -> None:
    wide = np.zeros((1, 2, 4, 6, 1), np.float32)
    with pytest.raises(RecipeError, match="square images, received 4x6"):
        apply(batch_of(wide, wide), turns="image")


def spot(size: int = 21) -> tuple[TaskBatch, np.ndarray]:
    """Two hundred images of one bright spot right of the centre."""
    images = np.zeros((2, 100, size, size, 1), np.float32)
    images[:, :, 9:12, 15:18] = 1
    return batch_of(images, images), images


def centres(images: np.ndarray) -> np.ndarray:
    """Where the spot is, [n, 2] rows and columns from the image's centre."""
    images = np.asarray(images)[..., 0].reshape(-1, *images.shape[2:4])
    row, column = np.indices(images.shape[1:]) - (images.shape[1] - 1) / 2
    mass = images.sum((1, 2))
    return np.stack([(images * row).sum((1, 2)) / mass, (images * column).sum((1, 2)) / mass], axis=1)


def test_rotation_keeps_the_distance_from_the_centre_and_its_limit() -> None:
    batch, _ = spot()
    places = centres(apply(batch, rotation=30.0).query_x)
    np.testing.assert_allclose(np.hypot(*places.T), 6.0, atol=0.3)
    angles = np.degrees(np.arctan2(*places.T))
    assert 25 < np.abs(angles).max() < 31
    assert angles.min() < -20 < 20 < angles.max()
    assert len(np.unique(angles.round(3))) > 150  # every image its own


def test_shift_moves_up_to_its_share_of_the_side() -> None:
    batch, _ = spot()
    moved = centres(apply(batch, shift=0.1).query_x) - [0, 6]
    assert 1.8 < np.abs(moved[:, 0]).max() <= 2.1 + 1e-3
    assert 1.5 < np.abs(moved[:, 1]).max() <= 2.1 + 0.3


def test_scale_and_shear_stay_in_their_limits() -> None:
    batch, _ = spot()
    places = centres(apply(batch, scale=0.2).query_x)
    assert 4.6 < places[:, 1].min() < 5.1
    assert 6.9 < places[:, 1].max() < 7.4
    np.testing.assert_allclose(places[:, 0], 0, atol=0.05)
    upper = np.zeros((1, 100, 21, 21, 1), np.float32)
    upper[:, :, 3:6, 9:12] = 1
    sheared = centres(apply(batch_of(upper, upper), shear=20.0).query_x)
    np.testing.assert_allclose(sheared[:, 0], -6, atol=0.1)
    assert 1.8 < np.abs(sheared[:, 1]).max() < 6 * np.tan(np.radians(20)) + 0.1


def test_fill_is_zero_or_a_reflection() -> None:
    ones = np.ones((1, 50, 8, 8, 1), np.float32)
    assert apply(batch_of(ones, ones), shift=0.4, fill="constant").query_x.numpy().min() == 0
    assert apply(batch_of(ones, ones), shift=0.4, fill="reflect").query_x.numpy().min() > 0.999


def test_colour_per_task_changes_all_images_alike() -> None:
    flat = np.full((4, 6, 5, 5, 3), 0.5, np.float32)
    for per, alike in (("task", True), ("image", False)):
        changed = apply(batch_of(flat, flat), brightness=0.2, gain=0.2, colour_per=per)
        values = np.concatenate([changed.support_x, changed.query_x], axis=1)[:, :, 0, 0]  # [tasks, n, bands]
        assert bool(np.allclose(values, values[:, :1])) is alike
        assert len(np.unique(values[:, 0, 0])) == 4
        assert np.ptp(values[0, 0]) > 1e-3  # each band its own gain


def test_contrast_keeps_the_mean(batch: TaskBatch) -> None:
    changed = apply(batch, contrast=0.4)
    old, new = np.asarray(batch.query_x), np.asarray(changed.query_x)
    inside = np.all((new > 0) & (new < 1), axis=(2, 3, 4))
    assert inside.sum() >= 3
    np.testing.assert_allclose(new.mean((2, 3, 4))[inside], old.mean((2, 3, 4))[inside], atol=1e-5)
    ratio = (new.std((2, 3, 4)) / old.std((2, 3, 4)))[inside]
    assert 0.6 <= ratio.min() < ratio.max() <= 1.4


def test_values_stay_between_zero_and_one(batch: TaskBatch) -> None:
    changed = apply(batch, brightness=0.8, contrast=0.9, gain=0.9, noise=0.5)
    assert changed.query_x.numpy().min() >= 0
    assert changed.query_x.numpy().max() <= 1


def test_erase_sets_one_rectangle_of_each_image_to_its_mean() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, 40, 16, 16, 2)).astype(np.float32)
    changed = apply(batch_of(images, images), erase=0.5).query_x.numpy()
    touched = np.any(changed != images, axis=-1)
    for before, after, mask in zip(*(a.reshape(-1, *a.shape[2:]) for a in (images, changed, touched)), strict=True):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert max(len(rows), len(columns)) <= 9
            np.testing.assert_allclose(after[mask], np.broadcast_to(before.mean((0, 1)), after[mask].shape), atol=1e-5)
    assert 0.03 < touched.mean() < 0.1  # a quarter by a quarter on average


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rotation": -1.0}, "rotation lies in 0-180, received -1.0"),
        ({"scale": 1.0}, "scale lies in 0-0.9"),
        ({"turns": "all"}, "turns is one of none, image, task; received 'all'"),
        ({"colour_per": "none"}, "colour_per is one of image, task"),
        ({"fill": "black"}, "fill is one of"),
    ],
)
def test_limits_are_checked(fields: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Augmentation(**fields)


def labelled(side: int) -> TaskBatch:
    """Smooth images of one band in three levels, whose pixels' labels are these levels."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    kinds = np.stack([np.floor(3 * (0.5 * rows + 0.5 * columns)), np.floor(3 * rows), np.floor(2.9 * columns**2)])
    kinds = np.tile(kinds, (2, 2, 1, 1)).astype(np.int32)  # [2 tasks, 6 windows, H, W]
    images = (kinds[..., None] / 2).astype(np.float32)
    return TaskBatch(*(tf.constant(part) for part in (images[:, :2], kinds[:, :2], images[:, 2:], kinds[:, 2:])))


@pytest.mark.parametrize("fields", [{"turns": "image", "flips": "image"}, {"turns": "task"}, {"flips": "task"}])
def test_labels_of_pixels_turn_with_their_images(fields: dict) -> None:
    augment = make_augment(Augmentation(**fields))
    assert augment is not None
    before, after = labelled(8), augment(labelled(8), seed(5))
    assert not np.array_equal(before.support_x, after.support_x)
    np.testing.assert_array_equal(2 * after.support_x[..., 0], after.support_y)
    np.testing.assert_array_equal(2 * after.query_x[..., 0], after.query_y)


@pytest.mark.parametrize("fill", ["constant", "reflect"])
def test_labels_of_pixels_rotate_and_scale_with_their_images(fill: str) -> None:
    augment = make_augment(Augmentation(rotation=40.0, scale=0.3, shift=0.2, fill=fill))  # type: ignore[arg-type]
    assert augment is not None
    after = augment(labelled(40), seed(6))
    labels, levels = after.query_y.numpy(), 2 * after.query_x.numpy()[..., 0]
    assert (labels == -1).any() == (fill == "constant")
    counted = labels >= 0
    # Levels are blended at the borders only.
    assert np.mean(np.round(levels[counted]) == labels[counted]) > 0.9


def test_dropped_bands_are_zero_in_all_images_of_a_task(batch: TaskBatch) -> None:
    changed = apply(batch, 4, band_dropout=0.5)
    gone = [np.all(part.numpy() == 0, axis=(1, 2, 3)) for part in (changed.support_x, changed.query_x)]
    np.testing.assert_array_equal(gone[0], gone[1])
    assert gone[0].any()
    assert not gone[0].all(axis=1).any()
    kept = ~gone[0][:, None, None, None, :]
    np.testing.assert_array_equal(changed.support_x, np.where(kept, batch.support_x, 0))


def test_a_band_that_a_task_lacks_stays_zero_whatever_changes(batch: TaskBatch) -> None:
    lacking = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None, None, None]
    bare = batch._replace(support_x=batch.support_x * lacking, query_x=batch.query_x * lacking)
    changed = apply(bare, noise=0.1, brightness=0.2, contrast=0.3, gain=0.2)
    for images in (changed.support_x, changed.query_x):
        np.testing.assert_array_equal(tf.reduce_max(images, axis=[1, 2, 3]).numpy() > 0, lacking[:, 0, 0, 0] > 0)


def test_labels_of_pixels_bend_with_their_images() -> None:
    augment = make_augment(Augmentation(elastic=0.05))
    assert augment is not None
    before, after = labelled(40), augment(labelled(40), seed(6))
    labels, levels = after.query_y.numpy(), 2 * after.query_x.numpy()[..., 0]
    assert np.mean(labels != before.query_y.numpy()) > 0.02
    assert np.mean(np.round(levels) == labels) > 0.9
