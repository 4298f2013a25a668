# SPDX-License-Identifier: Apache-2.0
"""A checkpoint becomes a Hugging Face ALBERT folder, where it is nothing more than an ALBERT."""

import shutil
from pathlib import Path

import torch
from transformers import AlbertConfig, AlbertForSequenceClassification, PreTrainedTokenizerFast

from compress.data.text_files import DataError
from compress.huggingface.albert import NAMES
from compress.huggingface.twin import quiet_transformers
from golden_model.checkpoint import Checkpoint

__all__ = ["export_albert"]


@quiet_transformers()
def export_albert(checkpoint: Checkpoint, tokenizer: Path | None, out: str | Path) -> None:
    """Write the folder `out`, which transformers loads with the logits of all layers' end.

    tokenizer : tokenizer.json that goes with it, None without

    Raises DataError where the checkpoint drops tokens, leaves early or has spans, which ALBERT has
    not, and where `out` is there already.
    """
    out = Path(out)
    if out.exists():
        raise DataError(f"{out} must be a folder that is not there yet")
    _check_plain(checkpoint)
    model = checkpoint.model
    config = AlbertConfig(
        vocab_size=model.vocabulary,
        embedding_size=model.embedding,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.feed_forward,
        hidden_act=model.activation,
        max_position_embeddings=model.positions,
        type_vocab_size=model.segments,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    names = checkpoint.labels or [f"LABEL_{i}" for i in range(model.classes)]
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    network = AlbertForSequenceClassification(config)
    state = network.state_dict()
    with torch.no_grad():
        for ours, theirs in NAMES.items():
            state[theirs].copy_(checkpoint[ours])
    network.save_pretrained(out)
    if tokenizer is not None:
        _write_tokenizer(tokenizer, out, model.positions)


def _check_plain(checkpoint):
    """Raise DataError where the checkpoint does what ALBERT does not."""
    differs = {
        "drops tokens (eta)": bool((checkpoint["eta"] != 0).any()),
        "has attention spans": bool((checkpoint["attention.span"] != 1).any()),
        "leaves early (exit threshold)": checkpoint.exit_threshold > 0,
    }
    found = [what for what, is_so in differs.items() if is_so]
    if found:
        raise DataError(
            f"Checkpoint must be a plain ALBERT to be exported; it {', '.join(found)}. "
            "--dense takes the uncompressed model in it"
        )


def _write_tokenizer(path, out, positions):
    """tokenizer.json, and what AutoTokenizer wants to know of it."""
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        model_max_length=positions,
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    fast.save_pretrained(out)
    shutil.copy(path, out / "tokenizer.json")  # as it was, byte for byte
