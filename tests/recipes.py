# SPDX-License-Identifier: Apache-2.0
"""A toy task whose class hangs on one word, and a recipe of seconds for it."""

import random

from compress.recipes.reader import read_recipe
from compress.recipes.result_store import ResultStore
from compress.recipes.run import RecipeRun
from compress.tokens.vocabulary import albert_tokenizer
from tests.albert import save_albert, write_vocabulary

GOOD, BAD = "fine great warm funny sweet".split(), "dull awful cold boring sour".split()
FILL = "the film a plot of and story".split()
TOY = """task = "toy"
model = "nano"
held = 16

[start]
origin = "vectors"

[[stage]]
name = "finetune"
epochs = 1.5
rate = 3e-4
head_rate = 1e-3

[stage.labels]
smoothing = 0.05

[stage.dropout]
words = 0.1

[[stage]]
name = "reduce"
epochs = 0.6
average = 0.998
teacher = { stage = "finetune" }

[stage.labels]
share = 0.2

[stage.logits]

[stage.adapler]

[stage.spans]
dead = 1

[[stage]]
name = "prune"
epochs = 0.7
teacher = { stage = "finetune" }

[stage.logits]

[stage.hidden]

[stage.adapler]
hard = true

[stage.magnitude]

[[stage]]
name = "quantise"
epochs = 0.4
teacher = { stage = "finetune" }

[stage.logits]

[stage.adaptivfloat]

[stage.entropy]

[stage.dvfs]
"""


def write_rows(path, count, draw, longest=10):
    """A file of rows."""
    lines = ["sentence\tlabel"]
    for _ in range(count):
        label = draw.randrange(2)
        words = [draw.choice(FILL) for _ in range(draw.randint(3, longest))]
        words.insert(draw.randrange(len(words)), draw.choice(GOOD if label else BAD))
        lines.append(f"{' '.join(words)}\t{label}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def toy_data(folder, seed=1):
    """The toy task in a folder of tasks."""
    draw = random.Random(seed)
    write_rows(folder / "toy" / "train.tsv", 160, draw)
    write_rows(folder / "toy" / "dev.tsv", 24, draw)
    return folder


def toy_run(folder, data, text=TOY, seed=0):
    """A RecipeRun of a recipe's text; its store is FOLDER/store."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.toml"
    path.write_text(text)
    store = ResultStore(folder / "store")
    return RecipeRun(read_recipe(path, data), data, store, seed, log=lambda line: None)


def from_albert(folder, **changes):
    """The toy recipe from a random ALBERT in FOLDER/albert, of another geometry than ours."""
    save_albert(folder / "albert", **changes)
    words = [f"\u2581{word}" for word in (*GOOD, *BAD, *FILL)]
    vocabulary = write_vocabulary(folder / "some.vocab", words)
    albert_tokenizer(vocabulary).save(str(folder / "albert" / "tokenizer.json"))
    start = f'origin = "huggingface"\npath = "{folder / "albert"}"\npositions = 24'
    return TOY.replace('model = "nano"\n', "").replace('origin = "vectors"', start)
