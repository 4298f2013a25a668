/* SPDX-License-Identifier: Apache-2.0 */
/* Register accesses of the driver, bridged into a co-simulated machine; `base` points to a struct terse_bridge. */
#ifndef TERSE_MMIO_H
#define TERSE_MMIO_H

#include <stdint.h>

struct terse_bridge {
    void *simulation;
    int (*read)(void *simulation, uint32_t offset, uint32_t *value);
    int (*write)(void *simulation, uint32_t offset, uint32_t value);
    uint32_t (*run)(void *simulation, uint32_t until, uint64_t cycles);
    uint64_t delay;   /* cycles between two reads of STATUS */
    uint32_t refused; /* accesses that were not answered with OKAY */
};

static inline struct terse_bridge *terse_bridge(volatile void *base)
{
    return (struct terse_bridge *)base;
}

static inline uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    struct terse_bridge *bridge = terse_bridge(base);
    uint32_t value = 0;
    bridge->refused += bridge->read(bridge->simulation, offset, &value) != 0;
    return value;
}

static inline void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    struct terse_bridge *bridge = terse_bridge(base);
    bridge->refused += bridge->write(bridge->simulation, offset, value) != 0;
}

static inline void terse_mmio_barrier(void)
{
}

static inline void terse_mmio_delay(volatile void *base)
{
    struct terse_bridge *bridge = terse_bridge(base);
    bridge->run(bridge->simulation, 0, bridge->delay);
}

#endif
