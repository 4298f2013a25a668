# SPDX-License-Identifier: Apache-2.0
"""The fixed internal formats of functions and decisions, in one place (docs/numerics.md).

FRAC is the number of fraction bits, BITS the width. ACT tensors have 16 bits (`fixed.ACT_BITS`)
and a binary point of their own (`Network.frac`); `fixed.align` brings them to a function's input.
"""

EXP_IN_BITS, EXP_IN_FRAC = 16, 11  # unsigned distance below the maximum, 0 .. 32
EXP_FRAC = 16  # unsigned Q1.16: 17 bits, 1.0 is exact
SPAN_FRAC = 8  # unsigned Q0.8 with 256 = 1: 9 bits
ETA_FRAC = 16  # unsigned Q1.16: 17 bits
THRESHOLD_BITS, THRESHOLD_FRAC = 18, 16  # unsigned Q2.16, nats; also the reported entropy
LN_FRAC = 16  # signed
MANTISSA_FRAC = 16  # reciprocal and rsqrt: 2^15 .. 2^16, 17 bits unsigned
GELU_FRAC = 10  # signed 16 bits in and out
TANH_IN_FRAC, TANH_FRAC = 12, 14  # signed 16 bits in and out
FACTOR_BITS = 18  # signed: what is multiplied by a mantissa or by gamma
NORM_FRAC = 12  # LayerNorm's normalized value, FACTOR_BITS wide: -32 .. 32
SHIFT_MAX = 47  # right shifts of the requantizer are 0 .. 47
