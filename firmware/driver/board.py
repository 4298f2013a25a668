# SPDX-License-Identifier: Apache-2.0
"""A board that holds a model in its flash: what there is, where it lies, and how it is loaded."""

import dataclasses
import zlib

from firmware.driver.host import Link, Terse, Windows
from firmware.store import EMBEDDING_AT, STORE_BYTES, Store, StoreError

__all__ = ["SENTENCES", "board_windows", "check_store", "read_store", "send_image"]

SENTENCES = 64  # of a queue that there is room for


def read_store(link: Link) -> Store:
    """What the board's flash holds, from the header that it copied to its memory.

    Raises StoreError where there is none.
    """
    return Store.parse(link.get(0, STORE_BYTES))


def board_windows(terse: Terse, store: Store, sentences: int = SENTENCES) -> Windows:
    """Image, input and results in the board's memory, embeddings in its flash."""
    packed = Windows.packed(terse, store.image, store.embedding, sentences, base=STORE_BYTES)
    return dataclasses.replace(packed, embedding=(EMBEDDING_AT, store.embedding))


def check_store(store: Store, image: bytes, embedding: bytes) -> None:
    """StoreError where the board holds another model than these images."""
    if store != Store.of(image, embedding):
        raise StoreError(
            "The board's flash holds another model, or one for other hardware: write this one with "
            "`terse flash`"
        )


def send_image(link: Link, store: Store, image: bytes) -> None:
    """The image over the line, in place of a damaged one; the flash is left as it is.

    Raises StoreError where it is not the image that the flash's header names.
    """
    if (store.image, store.image_crc) != (len(image), zlib.crc32(image)):
        raise StoreError("This is not the image that the board's flash names")
    link.put(STORE_BYTES, image)
