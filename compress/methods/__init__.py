# SPDX-License-Identifier: Apache-2.0
"""The methods of compression, one file each; METHODS is their registry, by the recipe's name."""

from compress.methods.adapler import AdapLeR
from compress.methods.adaptivfloat import AdaptivFloat
from compress.methods.base import Method
from compress.methods.dropout import Dropout
from compress.methods.dvfs import Dvfs
from compress.methods.entropy import Entropy
from compress.methods.hidden import Hidden
from compress.methods.labels import Labels
from compress.methods.logits import Logits
from compress.methods.magnitude import Magnitude
from compress.methods.maps import Maps
from compress.methods.spans import Spans

__all__ = ["METHODS", "Method"]

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Labels,
        Dropout,
        Logits,
        Hidden,
        Maps,
        AdapLeR,
        Spans,
        Entropy,
        Dvfs,
        Magnitude,
        AdaptivFloat,
    )
}
