# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of Hugging Face folders: the same tokens as transformers', or refused in one line."""

import json
import struct

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AlbertTokenizer, BertTokenizer

from compress.huggingface.albert import AlbertError
from compress.huggingface.importing import import_albert
from compress.tokens import sentencepiece, tokenizer, vocabulary
from compress.tokens.tokenizer import SentenceTokenizer, VocabularyError, load_tokenizer
from compress.tokens.vocabulary import albert_tokenizer, find_tokenizer, wordpiece_tokenizer
from golden_model.config import ModelConfig
from tests.albert import SMALL, scored, write_vocabulary

MODEL = ModelConfig(3, 16, 48, 3, 96, SMALL["vocab_size"], 32, 3)
TEXTS = ("A good film.", "the  ``Gööd'' film-s!", "no (bad) 鯨", "not", "CAFÉ café")
CASED = ("▁A", "▁Good", "G", "ö", "é", "▁café", "▁CAF", "É")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "the", "a", ".", "##s")
WORDS += ("好", "电", "影", "cafe", "café", "CAFÉ", "A", "鯨")
# ALBERT's own switches, by transformers' names.
CHOICES = [
    {},
    {"do_lower_case": False},
    {"keep_accents": True},
    {"do_lower_case": False, "keep_accents": True},
]


def same(ours, theirs):
    """Ids and segments of both for sentences and pairs."""
    ours = SentenceTokenizer(ours, 32)
    for text in TEXTS:
        for pair in (None, "bad film"):
            want = theirs(text, pair, return_token_type_ids=True)
            got = ours.encode(text, pair)
            assert (got.ids, got.segments) == (want["input_ids"], want["token_type_ids"])


def refused(folder, message, vocab=None):
    with pytest.raises(AlbertError, match=message) as caught:
        find_tokenizer(folder, vocab, MODEL)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


# Bare vocabularies.


@pytest.mark.parametrize("choice", CHOICES)
def test_albert_vocabulary(tmp_path, choice):
    path = write_vocabulary(tmp_path / "cased.vocab", CASED)
    same(albert_tokenizer(path, **choice), AlbertTokenizer(vocab=scored(CASED), **choice))


@pytest.mark.parametrize("choice", CHOICES)
def test_tokenizer_config_is_followed(tmp_path, choice):
    path = write_vocabulary(tmp_path / "cased.vocab", CASED)
    config = {"tokenizer_class": "AlbertTokenizer", **choice}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found, notes = find_tokenizer(tmp_path, path, MODEL)
    same(found, AlbertTokenizer(vocab=scored(CASED), **choice))
    assert notes == []


@pytest.mark.parametrize("wrong", ["false", 0, None, []])
def test_wrong_tokenizer_config(tmp_path, vocab, wrong):
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"keep_accents": wrong}))
    refused(tmp_path, "tokenizer_config.json: keep_accents must be true or false, not ", vocab)
    path.write_text("[")
    refused(tmp_path, "tokenizer_config.json must be JSON", vocab)


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": True, "do_lower_case": False},
        {"strip_accents": False},
        {"strip_accents": None},
        {"tokenize_chinese_chars": False},
    ],
)
def test_wordpiece_vocabulary(tmp_path, choice):
    """A Chinese ALBERT's vocab.txt, which lies in the folder; [UNK] is what it does not have."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(choice))
    found, _ = find_tokenizer(tmp_path, None, MODEL)
    same(found, BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, **choice))
    ours = SentenceTokenizer(found, 32)
    assert (ours.unknown, ours.encode("好 电 xyz").pieces) == (
        1,
        ["[CLS]", "好", "电", "[UNK]", "[SEP]"],
    )
    assert ours.vocabulary == len(WORDS)


def test_wrong_wordpiece_vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[UNK]\n[CLS]\ngood\n")
    refused(tmp_path, r"must be a vocabulary: WordPiece with a line \[SEP\], which is missing")
    path.write_bytes(b"[UNK]\n\xff\n")
    refused(tmp_path, "vocab.txt must be text in UTF-8")


# SentencePiece's file.


def field(number, value):
    """A protocol buffer's field: text and bytes with their length, a float as four bytes."""
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    if isinstance(value, int):
        return bytes([number << 3, value])
    value = value.encode() if isinstance(value, str) else value
    size, length = len(value), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def piece(text, score, kind=1):
    return field(1, field(1, text) + field(2, score) + (field(3, kind) if kind != 1 else b""))


def spiece(pieces, model_type=1, charsmap=b""):
    """spiece.model as SentencePiece writes it, with trainer and normalizer behind the pieces."""
    kinds = [3, 2, 3, 3, 3] + [4] * 5
    data = b"".join(
        piece(text, score, kinds[i] if i < len(kinds) else 1)
        for i, (text, score) in enumerate(pieces)
    )
    data += field(2, field(1, "input.txt") + field(3, model_type) + field(4, 64))
    return data + field(3, field(1, "nmt_nfkc") + field(2, charsmap) + field(3, 1))


def test_spiece_model(tmp_path):
    """In the folder or given: the tokens are those of the same vocabulary as text."""
    pieces = scored(("▁" + "long" * 60, *CASED))
    (tmp_path / "spiece.model").write_bytes(spiece(pieces))
    found, notes = find_tokenizer(tmp_path, None, MODEL)
    same(found, AlbertTokenizer(vocab=pieces))
    given = tmp_path / "binary"
    given.write_bytes(spiece(pieces))
    same(find_tokenizer(tmp_path, given, MODEL)[0], AlbertTokenizer(vocab=pieces))
    assert notes == []
    assert sentencepiece.read_pieces(spiece(pieces, charsmap=b"\x01\x02"))[1] == b"\x01\x02"


@pytest.mark.parametrize(
    "data, message",
    [
        (
            bytes(range(14, 256)) * 40,
            "must be a SentencePiece model .* or text with a piece, a tab",
        ),
        (b"", "must begin with <pad>, <unk>"),
        (b"\x0a", "it is damaged"),
        (spiece(scored())[:-3], "it is cut"),
        (spiece(scored())[:333], "it is "),
        (spiece(scored(), model_type=2), "its model type must be unigram"),
        (piece("<pad>", 0.0, 2) + piece("<unk>", 0.0, 2), "its unknown piece must be the second"),
        (piece("<pad>", 0.0, 3) + piece("<unk>", 0.0), "its unknown piece must be the second"),
        (spiece(scored(), charsmap=b"rubbish"), "cannot be used"),
        (b"\x0a\x02\x08\x01" + spiece(scored()), "it is damaged"),
        (spiece([*scored()[:2], *scored()[3:]]), "must begin with <pad>, <unk>"),
    ],
)
def test_damaged_spiece_model(tmp_path, data, message):
    path = tmp_path / "spiece.model"
    path.write_bytes(data)
    refused(tmp_path, f"spiece.model .*{message}")


# tokenizer.json.


@pytest.fixture
def own(tmp_path):
    """A folder with the tokenizer of transformers and the config that says whose it is."""
    AlbertTokenizer(vocab=scored(CASED)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    return tmp_path


def change(folder, edit):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_own_tokenizer(own, vocab):
    found, notes = find_tokenizer(own, vocab, MODEL)
    same(found, AlbertTokenizer(vocab=scored(CASED)))
    assert len(notes) == 1 and "--vocab is not used" in notes[0]


def test_post_processor_is_added_as_transformers_does(own):
    change(own, lambda values: values.update(post_processor=None))
    found, _ = find_tokenizer(own, None, MODEL)
    same(found, AlbertTokenizer.from_pretrained(own))
    assert found.encode("good", "film").tokens == "[CLS] ▁good [SEP] ▁film [SEP]".split()


def test_config_beside_tokenizer_json_is_followed(own):
    path = own / "tokenizer_config.json"
    path.write_text(json.dumps({"do_lower_case": False, "keep_accents": True}))
    same(find_tokenizer(own, None, MODEL)[0], AlbertTokenizer.from_pretrained(own))
    assert find_tokenizer(own, None, MODEL)[0].encode("A café").tokens[1:3] == ["▁A", "▁café"]


def test_wordpiece_tokenizer_json(tmp_path):
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    found, _ = find_tokenizer(tmp_path, None, MODEL)
    same(found, BertTokenizer.from_pretrained(tmp_path))


TEMPLATE = {
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
}


def first_id(values, token, ids):
    values["post_processor"]["special_tokens"][token]["ids"] = ids


@pytest.mark.parametrize(
    "edit, message",
    [
        (
            lambda values: values["post_processor"].update(TEMPLATE),
            r"must make \[CLS\] A \[SEP\], segments 0 and 1, of a sentence .*, not A, segments",
        ),
        (
            lambda values: values["post_processor"].update(pair=TEMPLATE["pair"]),
            r"must make \[CLS\] A \[SEP\] B \[SEP\], segments 0 and 1, of a pair .*, not A B,",
        ),
        (
            lambda values: values["post_processor"]["pair"][4]["SpecialToken"].update(type_id=2),
            r"not \[CLS\] A \[SEP\] B \[SEP\], segments \[0, .*2\]",
        ),
        (
            lambda values: values["post_processor"]["special_tokens"].pop("[SEP]"),
            r"the post_processor must give the token '\[SEP\]' one id, not \[\]",
        ),
        (lambda values: first_id(values, "[CLS]", []), r"token '\[CLS\]' one id, not \[\]"),
        (lambda values: first_id(values, "[CLS]", [2, 2]), r"token '\[CLS\]' one id, not \[2, 2\]"),
        (lambda values: first_id(values, "[CLS]", [1]), r"a sentence .*, not <unk> A \[SEP\]"),
        (
            lambda values: values["model"]["vocab"].extend([[f"x{i}", -9.0] for i in range(64)]),
            "must have at most the 64 pieces of the word embedding, not 97",
        ),
    ],
)
def test_wrong_tokenizer_json(own, edit, message):
    change(own, edit)
    refused(own, message)


def test_damaged_tokenizer_json(own):
    path = own / "tokenizer.json"
    for text in ("", "{}", "[]", "null", "[" * 100_000, '{"version": "1.0", "model": {}}'):
        path.write_text(text)
        refused(own, "tokenizer.json cannot be read, ")


@pytest.mark.parametrize("charsmap", [["x"], None, 3])
def test_charsmap_that_is_no_text(own, charsmap):
    """On which the library would panic, and print many lines."""
    normalizer = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    change(own, lambda values: values.update(normalizer=normalizer))
    refused(own, "tokenizer.json cannot be read, ValueError: character map must be text in base64")


def test_library_that_panics(own, monkeypatch):
    """What it raises then is no Exception."""
    normalizer = {"type": "Precompiled", "precompiled_charsmap": ["x"]}
    change(own, lambda values: values.update(normalizer=normalizer))
    monkeypatch.setattr(vocabulary, "check_charsmaps", lambda path: None)
    monkeypatch.setattr(tokenizer, "check_charsmaps", lambda path: None)
    refused(own, "tokenizer.json cannot be read, PanicException")
    with pytest.raises(VocabularyError, match="tokenizer.json cannot be read: PanicException"):
        load_tokenizer(own)


@pytest.mark.parametrize(
    "config",
    [
        {"tokenizer_class": 3},
        {"cls_token": []},
        {"added_tokens_decoder": 5},
        {"auto_map": []},
    ],
)
def test_config_that_transformers_does_not_take(own, config):
    (own / "tokenizer_config.json").write_text(json.dumps(config))
    refused(own, "transformers cannot make the tokenizer of tokenizer.json and tokenizer_config")


# In a checkpoint.


def test_checkpoint_has_what_transformers_makes(tmp_path, albert):
    """What is imported is loaded again and gives the same tokens; it does not cut."""
    AlbertTokenizer(vocab=scored(), model_max_length=8).save_pretrained(albert)
    change(albert, lambda values: values.update(post_processor=None, padding=None))
    import_albert(albert, tmp_path / "out")
    ours = load_tokenizer(tmp_path / "out", 32, MODEL)
    same(ours.tokenizer, AlbertTokenizer(vocab=scored()))
    kept = json.loads((tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8"))
    assert kept["truncation"] is None and kept["padding"] is None


def test_load_refuses(tmp_path):
    """Missing, damaged and unsuitable tokenizers are refused; BERT's special tokens are taken."""
    path = tmp_path / "tokenizer.json"
    with pytest.raises(FileNotFoundError, match="No tokenizer at"):
        load_tokenizer(tmp_path)
    path.write_text("{}")
    with pytest.raises(VocabularyError, match="tokenizer.json cannot be read"):
        load_tokenizer(tmp_path)
    words = Tokenizer(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "<unk>": 99}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(path))
    with pytest.raises(VocabularyError, match=r"must make \[CLS\] A \[SEP\].*, not A"):
        load_tokenizer(tmp_path)
    words.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    words.save(str(path))
    assert load_tokenizer(tmp_path).unknown == 99
    with pytest.raises(VocabularyError, match="at most the 64 pieces of the word embedding, not 1"):
        load_tokenizer(tmp_path, model=MODEL)
    with pytest.raises(VocabularyError, match="Positions must be at least 4, not 3"):
        load_tokenizer(tmp_path, 3)


def test_model_of_one_segment_takes_no_pairs(vocab):
    ours = SentenceTokenizer(albert_tokenizer(vocab), 16, segments=1)
    assert ours.encode("a film").segments == [0] * 4
    with pytest.raises(
        VocabularyError, match="must be single sentences, not pairs: .* one segment"
    ):
        ours.encode("a film", "good")


@pytest.mark.parametrize(
    "text, message",
    [
        (b"\xef\xbb\xbf<pad>\t0\n", "must begin with <pad>, <unk>"),
        (b"<pad>\t0\n<unk>\tinf\n", "line 2: must be a piece, a tab and its log probability"),
        (b"\xff" * 500 + b"\n", "line 1: must be a piece, a tab and .* in UTF-8, not b'.{0,40}$"),
    ],
)
def test_wrong_text_vocabulary(tmp_path, text, message):
    path = tmp_path / "small.vocab"
    path.write_bytes(text)
    with pytest.raises(VocabularyError, match=message):
        albert_tokenizer(path)


def test_wordpiece_without_newline_at_the_end(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS), encoding="utf-8")
    assert wordpiece_tokenizer(path).get_vocab_size() == len(WORDS)
