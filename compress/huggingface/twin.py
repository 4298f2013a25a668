# SPDX-License-Identifier: Apache-2.0
"""transformers' own model of an ALBERT that was read, which ours is compared with."""

from collections.abc import Callable
from contextlib import contextmanager
from logging import CRITICAL
from typing import Any, cast

import torch
from transformers import AlbertConfig, AlbertForSequenceClassification
from transformers.utils import logging

from compress.huggingface.albert import Albert, AlbertError
from golden_model.files import one_line

__all__ = ["eager", "quiet_transformers"]

# Keys of config.json that say which network it is, once it is checked.
OF_NETWORK = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "num_attention_heads",
    "intermediate_size",
    "inner_group_num",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
    "num_labels",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
)


@contextmanager
def quiet_transformers():
    """No warnings of transformers: what matters here of a config is refused in one line."""
    before = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def eager(
    albert: Albert, dtype: torch.dtype = torch.float32
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """transformers' own model, eager attention: a function (tokens, segments) -> logits (C,).

    Of the folder's config it has what says which network it is, and nothing else: hidden states
    that are asked for or a feed forward in chunks change no logit.

    Raises AlbertError where transformers cannot build it.
    """
    try:
        kept: dict[str, Any] = {name: getattr(albert.config, name) for name in OF_NETWORK}
        kept["attn_implementation"] = "eager"
        config = AlbertConfig(**kept)
        network = AlbertForSequenceClassification(config).eval()
        network.load_state_dict(albert.state)
    except Exception as error:  # AssertionError, TypeError, RuntimeError: by what is wrong
        raise AlbertError(f"transformers cannot build this model, {one_line(error)}") from error
    # transformers wraps `to`, of which pyright then takes the first argument for the module.
    cast("torch.nn.Module", network).to(dtype)

    @torch.no_grad()
    def logits(tokens, segments):
        tokens, segments = (torch.as_tensor(ids)[None] for ids in (tokens, segments))
        return network(input_ids=tokens, token_type_ids=segments).logits[0]

    return logits
