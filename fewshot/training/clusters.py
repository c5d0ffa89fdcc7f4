"""A split that keeps regions which look alike in one part, so that the test regions are unlike the training ones."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from sklearn.cluster import KMeans

from fewshot.data.region import RegionSet
from fewshot.data.splits import deal_places
from fewshot.models import conv4

IMAGES = 16
"""Images of each region that its features are the mean of."""
GROUP = 8
"""Places in a group, on average."""
FILTERS = 64


def split_clusters(region_set: RegionSet, sizes: Sequence[int], *, seed: int = 0) -> tuple[RegionSet, ...]:
    """Group places by k-means on the features of their images, and deal whole groups out to the parts.

    The features are those of a Conv-4 of 64 filters with random weights of seed 0, averaged over pixels and images:
    colour and texture, from a network that is named here and made anew anywhere, without a download.

    Args:
        region_set: What to split.
        sizes: Least number of places in each part; a part ends with a whole group.
        seed: Of k-means and of the order of the groups.

    Raises:
        TaskError: if there are too few places.
    """
    places = sorted({region.place for region in region_set.regions})
    features = place_features(region_set, places)
    count = max(len(sizes), min(len(places), round(len(places) / GROUP)))
    count = min(count, len(places))
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(features)
    groups = [[place for place, cluster in zip(places, found, strict=True) if cluster == k] for k in range(count)]
    order = np.random.default_rng(seed).permutation(count)
    return deal_places(region_set, [groups[k] for k in order], sizes)


def place_features(region_set: RegionSet, places: Sequence[str]) -> np.ndarray:
    """Return [places, FILTERS] features, each scaled to a standard deviation of one over the places."""
    keras.utils.set_random_seed(0)
    height, width, _ = region_set.store.shape
    blocks = int(min(4, np.log2(min(height, width))))
    network = conv4(region_set.store.shape, filters=FILTERS, blocks=blocks, normalization="none", readout="average")
    features = []
    for place in places:
        images = np.concatenate([region.images for region in region_set.regions if region.place == place])
        spread = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(np.int64)
        features.append(np.asarray(network(region_set.store.read(images[spread]))).mean(axis=0))
    stacked = np.stack(features)
    return (stacked - stacked.mean(axis=0)) / (stacked.std(axis=0) + 1e-9)
