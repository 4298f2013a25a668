# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from golden_model.bitmask import decode_column, encode_column, words

CODES = st.lists(st.sampled_from([0, 0, 0, 1, 128, 255]), min_size=1, max_size=70)


@given(CODES, st.binary(max_size=3))
def test_decode_inverts_encode(codes, tail):
    data = encode_column(codes)
    assert decode_column(data + tail, len(codes)) == (codes, len(data))
    assert len(data) == 2 * -(-len(codes) // 16) + sum(map(bool, codes))


def test_bytes():
    codes = [0] * 16 + [5, 0, 0, 0, 0, 0, 0, 0, 0, 7]
    assert words(codes) == [(0, []), (0x0201, [5, 7])]
    assert encode_column(codes) == bytes([0, 0, 1, 2, 5, 7])
