# SPDX-License-Identifier: Apache-2.0
"""A pre-trained encoder as teacher: BERT's layers, mean pooling, a linear classifier.

It is called as compress.network.Network is, so stages train it and students ask it alike.
"""

import torch
from transformers import BertConfig, BertModel

from compress.network import Output, Trained

__all__ = ["PretrainedEncoder"]

MASK = 103  # [MASK] of BERT's vocabulary, behind which its words begin


class PretrainedEncoder(Trained):
    """The sizes of `config` (ModelConfig), as BertModel of transformers has them."""

    def __init__(self, config):
        super().__init__(config)
        c = config
        self.bert = BertModel(
            BertConfig(
                vocab_size=c.vocabulary,
                hidden_size=c.hidden,
                num_hidden_layers=c.layers,
                num_attention_heads=c.heads,
                intermediate_size=c.feed_forward,
                hidden_act=c.activation,
                max_position_embeddings=512,
                type_vocab_size=c.segments,
            ),
            add_pooling_layer=False,
        )
        self.classifier = torch.nn.Linear(c.hidden, c.classes)

    def forward(self, tokens, segments, live, embedded=None):
        """Output with one tensor of logits and all hidden states, the embeddings first.

        tokens, segments, live : (B,n); `embedded` (B,n,H), where given, takes the embeddings' place
        """
        if embedded is None:
            embedded = self.embed(tokens, segments)
        mask = torch.zeros_like(live).masked_fill(live == 0, torch.finfo(torch.float32).min)
        states, maps = [embedded], []
        for layer in self.bert.encoder.layer:
            if self.mode.maps:
                maps.append(_map(layer.attention, states[-1], mask[:, None, None]))
            found = layer(states[-1], attention_mask=mask[:, None, None])
            states.append(found[0] if isinstance(found, tuple) else found)
        weight = live[:, :, None]
        pooled = (states[-1] * weight).sum(1) / weight.sum(1)
        pooled = torch.nn.functional.dropout(pooled, self.mode.dropout, self.training)
        logits = self.classifier(pooled).float()
        return Output(logits=[logits], hidden=states, live=[live], maps=maps)

    def embed(self, tokens, segments):
        """The first layer's input (B,n,H)."""
        if self.training and self.mode.word_dropout:
            lost = torch.rand(tokens.shape, device=tokens.device) < self.mode.word_dropout
            tokens = tokens.masked_fill(lost & (tokens > MASK), MASK)
        return self.bert.embeddings(input_ids=tokens, token_type_ids=segments)


def _map(attention, x, mask):
    """(B,heads,n,n) what each query of one layer's attention gives to each key."""
    attention = attention.self
    shape = (*x.shape[:2], -1, attention.attention_head_size)
    query = attention.query(x).view(shape).transpose(1, 2)
    key = attention.key(x).view(shape).transpose(1, 2)
    return torch.softmax((query @ key.transpose(2, 3)).float() * attention.scaling + mask, 3)
