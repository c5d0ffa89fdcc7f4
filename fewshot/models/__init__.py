"""Keras networks whose second derivatives are exact, and the heads that turn their features into outputs."""

from fewshot.models.context import Context, make_context
from fewshot.models.conv4 import conv4
from fewshot.models.head_kinds import HEADS, make_head
from fewshot.models.heads import FixedHead, Head, PrototypeHead, SharedHead
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
    "HEADS",
    "NORMALIZATIONS",
    "Constant",
    "Context",
    "FixedHead",
    "Head",
    "Normalization",
    "PretrainedMaps",
    "PrototypeHead",
    "SharedHead",
    "Standardization",
    "conv4",
    "hidden_variables",
    "make_context",
    "make_head",
    "make_normalization",
    "mlp",
    "resnet12",
    "standardised",
    "unet",
]
