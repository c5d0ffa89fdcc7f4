"""Keras networks whose second derivatives are exact, and the heads that turn their features into outputs."""

from fewshot.models.conv4 import conv4
from fewshot.models.heads import FixedHead, Head, PrototypeHead, SharedHead, make_head
from fewshot.models.mlp import mlp
from fewshot.models.normalization import (
    NORMALIZATIONS,
    Normalization,
    Standardization,
    make_normalization,
    standardised,
)
from fewshot.models.pretrained import Constant, PretrainedMaps, hidden_variables
from fewshot.models.resnet12 import resnet12
from fewshot.models.unet import unet

__all__ = [
    "NORMALIZATIONS",
    "Constant",
    "FixedHead",
    "Head",
    "Normalization",
    "PretrainedMaps",
    "PrototypeHead",
    "SharedHead",
    "Standardization",
    "conv4",
    "hidden_variables",
    "make_head",
    "make_normalization",
    "mlp",
    "resnet12",
    "standardised",
    "unet",
]
