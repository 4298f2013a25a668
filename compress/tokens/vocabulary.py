# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a Hugging Face folder, as transformers would make it for that folder.

tokenizer.json goes through transformers itself. A bare vocabulary (spiece.model, vocab.txt or what
`--vocab` names) becomes what transformers' AlbertTokenizer or BertTokenizer would be, with the
choices of tokenizer_config.json.
"""

import codecs
import math
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from compress.huggingface.albert import AlbertError
from compress.tokens import sentencepiece
from compress.tokens.charsmap import check_charsmap, check_charsmaps
from compress.tokens.tokenizer import (
    SPECIAL,
    VocabularyError,
    check_tokenizer,
    refusing,
    with_special,
)
from golden_model.config import ModelConfig, brief
from golden_model.files import one_line, read_json

__all__ = ["albert_tokenizer", "find_tokenizer", "wordpiece_tokenizer"]

VOCABULARIES = ("spiece.model", "vocab.txt")  # of folders that were saved without tokenizer.json
# Keys of tokenizer_config.json that change what a vocabulary makes of a text.
OF_ALBERT = ("do_lower_case", "keep_accents")
OF_BERT = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")


def find_tokenizer(
    folder: Path, vocab: str | Path | None, model: ModelConfig
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
    # Alone first: whose fault it is, and transformers would try other files.
    with refusing(AlbertError, f"{path} cannot be read, "):
        check_charsmaps(path)
        Tokenizer.from_file(str(path))
    with refusing(  # by what is wrong: TypeError, AttributeError, RecursionError, ...
        AlbertError,
        f"{folder}: transformers cannot make the tokenizer of tokenizer.json and "
        "tokenizer_config.json, ",
    ):
        found = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return found.backend_tokenizer


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


# Bare vocabularies.


def albert_tokenizer(
    path: str | Path, do_lower_case: bool = True, keep_accents: bool = False
) -> Tokenizer:
    """A `tokenizers.Tokenizer` from ALBERT's vocabulary, spiece.model or its text.

    The text has lines `piece<TAB>log probability`; line number = id; the first five are SPECIAL.
    Normalized and split as transformers' AlbertTokenizer does it with the same choices. Raises
    VocabularyError with the line that is wrong.
    """
    path = Path(path)
    data = path.read_bytes()
    if path.suffix == ".model" or data.startswith(b"\n"):
        pieces, charsmap = _binary_pieces(path, data)
    else:
        pieces, charsmap = _text_pieces(path, data), b""
    if tuple(piece for piece, _ in pieces[: len(SPECIAL)]) != SPECIAL:
        raise VocabularyError(f"{path} must begin with {', '.join(SPECIAL)}")
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
    ]
    if not keep_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if do_lower_case:
        steps.append(normalizers.Lowercase())
    with refusing(VocabularyError, f"{path} cannot be used: "):
        if charsmap:
            check_charsmap(charsmap)
            steps.append(normalizers.Precompiled(charsmap))
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return with_special(tokenizer)


def _binary_pieces(path, data):
    try:
        return sentencepiece.read_pieces(data)
    except ValueError as error:
        raise VocabularyError(
            f"{path} must be a SentencePiece model (spiece.model), or text with a piece, a tab and "
            f"its log probability on each line: {error}"
        ) from error


def _text_pieces(path, data):
    pieces = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            piece, _, score = line.decode("utf-8").partition("\t")
            pieces.append((piece, float(score)))
            if not math.isfinite(pieces[-1][1]):
                raise ValueError
        except ValueError:
            raise VocabularyError(
                f"{path} line {number}: must be a piece, a tab and its log "
                f"probability in UTF-8, not {brief(line)}"
            ) from None
    return pieces


def wordpiece_tokenizer(
    path: str | Path,
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> Tokenizer:
    """A `tokenizers.Tokenizer` from BERT's vocabulary (vocab.txt), which Chinese ALBERTs have.

    A piece a line, line number = id, [UNK], [CLS] and [SEP] among them. Normalized and split as
    transformers' BertTokenizer does it with the same choices. Raises VocabularyError.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path} must be text in UTF-8: {one_line(error)}") from error
    vocabulary = {piece: i for i, piece in enumerate(lines) if piece or i < len(lines) - 1}
    for piece in ("[UNK]", "[CLS]", "[SEP]"):
        if piece not in vocabulary:
            raise VocabularyError(
                f"{path} must be a vocabulary: WordPiece with a line {piece}, which is missing, or "
                "ALBERT's with a piece, a tab and its log probability on each line"
            )
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strip_accents,
        lowercase=do_lower_case,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return with_special(tokenizer, [piece for piece in special if piece in vocabulary])
