/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What touches the hardware, and what a system may have to put in its place.
 *
 * A test, another bus or another CPU puts its own header of this name first in the include path. It defines these four.
 */
#ifndef TERSE_MMIO_H
#define TERSE_MMIO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Read the register at byte `offset` behind `base`. */
static inline uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    return ((volatile uint32_t *)base)[offset / 4u];
}

/** Write the register at byte `offset` behind `base`. */
static inline void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    ((volatile uint32_t *)base)[offset / 4u] = value;
}

/**
 * Order memory and registers: neither compiler nor CPU moves an access across.
 *
 * The driver calls it before it gives a command (queue, tokens and image are in memory then) and after it saw the end
 * (what is read of the results is not older). A system whose caches are not coherent with the accelerator's bus also
 * cleans and invalidates its caches, here or around the calls.
 */
static inline void terse_mmio_barrier(void)
{
#if defined(__GNUC__)
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#else
#error "terse_mmio.h: give terse_mmio_barrier what this compiler has for a full barrier"
#endif
}

/** Wait between two reads of STATUS, however long; `polls` of the driver counts these. */
static inline void terse_mmio_delay(volatile void *base)
{
    (void)base;
}

#ifdef __cplusplus
}
#endif

#endif
