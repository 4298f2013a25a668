# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a Hugging Face folder, as transformers would make it for that folder.

tokenizer.json goes through transformers itself. A bare vocabulary (spiece.model, vocab.txt or what
`--vocab` names) becomes what transformers' AlbertTokenizer or BertTokenizer would be, with the
choices of tokenizer_config.json.
"""

from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from compress.huggingface import AlbertError
from compress.tokenizer import (
    VocabularyError,
    albert_tokenizer,
    check_tokenizer,
    wordpiece_tokenizer,
)
from golden_model.config import ModelConfig, brief
from golden_model.files import one_line, read_json

__all__ = ["find_tokenizer"]

VOCABULARIES = ("spiece.model", "vocab.txt")  # of folders that were saved without tokenizer.json
# Keys of tokenizer_config.json that change what a vocabulary makes of a text.
OF_ALBERT = ("do_lower_case", "keep_accents")
OF_BERT = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")


def find_tokenizer(
    folder: Path, vocab: Path | None, model: ModelConfig
) -> tuple[Tokenizer | None, list[str]]:
    """(tokenizer or None, notes) of a folder: tokenizer.json, else `vocab`, else spiece.model or
    vocab.txt.

    Raises AlbertError where it cannot be read, holds more pieces than the model has embeddings, or
    does not put [CLS] and [SEP] around a sentence and between a pair.
    """
    own = folder / "tokenizer.json"
    beside = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    notes = []
    if own.is_file():
        source, tokenizer = own, _from_transformers(folder)
        if vocab is not None:
            notes.append(f"--vocab is not used: {folder} brings tokenizer.json")
    elif vocab is not None or beside:
        source = Path(vocab or beside[0])
        tokenizer = _from_vocabulary(source, _switches(folder))
    else:
        return None, [
            f"{folder} brings no tokenizer.json: the model takes no text; "
            "--vocab gives it ALBERT's vocabulary"
        ]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    try:
        check_tokenizer(tokenizer, source, model.vocabulary)
    except VocabularyError as error:
        raise AlbertError(str(error)) from error
    return tokenizer, notes


def _from_transformers(folder):
    """The folder's tokenizer.json with what its tokenizer_config.json changes."""
    path = folder / "tokenizer.json"
    try:
        # Alone first: whose fault it is, and transformers would try other files.
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise AlbertError(f"{path} cannot be read, {one_line(error)}") from error
    try:
        found = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return found.backend_tokenizer
    except Exception as error:  # by what is wrong: TypeError, AttributeError, RecursionError, ...
        raise AlbertError(
            f"{folder}: transformers cannot make the tokenizer of tokenizer.json and "
            f"tokenizer_config.json, {one_line(error)}"
        ) from error


def _from_vocabulary(path, switches):
    """WordPiece where [UNK] stands alone on a line, else ALBERT's vocabulary, text or binary."""
    wordpiece = b"[UNK]" in path.read_bytes().splitlines()
    make, names = (wordpiece_tokenizer, OF_BERT) if wordpiece else (albert_tokenizer, OF_ALBERT)
    try:
        return make(path, **{name: switches[name] for name in names if name in switches})
    except VocabularyError as error:
        raise AlbertError(str(error)) from error


def _switches(folder):
    """{key: value} of tokenizer_config.json, those of OF_ALBERT and OF_BERT that are there."""
    path = folder / "tokenizer_config.json"
    values = read_json(path, AlbertError) if path.is_file() else {}
    found = {name: values[name] for name in OF_ALBERT + OF_BERT if name in values}
    for name, value in found.items():
        # BERT strips accents where it lower-cases, unless told otherwise.
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise AlbertError(f"{path}: {name} must be true or false, not {brief(value)}")
    return found
