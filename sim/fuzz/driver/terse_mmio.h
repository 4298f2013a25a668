/* SPDX-License-Identifier: Apache-2.0 */
/* Registers that lie, in the place of the hardware: fuzz.c says what they answer. */
#ifndef TERSE_MMIO_H
#define TERSE_MMIO_H

#include <stdint.h>

uint32_t terse_mmio_read(volatile void *base, uint32_t offset);
void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value);

static inline void terse_mmio_barrier(void)
{
}

static inline void terse_mmio_delay(volatile void *base)
{
    (void)base;
}

#endif
