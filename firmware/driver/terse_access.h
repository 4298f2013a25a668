/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the driver: its files' way to the registers. Not for callers. */
#ifndef TERSE_ACCESS_H
#define TERSE_ACCESS_H

#include <stddef.h>
#include <terse_mmio.h>
#include "terse.h"

static inline uint32_t terse_get(const struct terse *t, uint32_t offset)
{
    return terse_mmio_read(t->base, offset);
}

static inline void terse_put(const struct terse *t, uint32_t offset, uint32_t value)
{
    terse_mmio_write(t->base, offset, value);
}

static inline bool terse_is_ready(const struct terse *t)
{
    return t != NULL && t->base != NULL;
}

static inline bool terse_is_aligned(uint32_t value)
{
    return value % TERSE_ALIGNMENT == 0u;
}

#endif
