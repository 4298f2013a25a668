/* SPDX-License-Identifier: Apache-2.0 */
/* The only two functions that touch the hardware. A test or another bus puts its own header of this name first. */
#ifndef TERSE_MMIO_H
#define TERSE_MMIO_H

#include <stdint.h>

static inline uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    return *(volatile uint32_t *)((volatile uint8_t *)base + offset);
}

static inline void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)((volatile uint8_t *)base + offset) = value;
}

#endif
