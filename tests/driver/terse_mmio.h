/* SPDX-License-Identifier: Apache-2.0 */
/* A register file in C, in the place of the hardware: busy for `delay` reads of STATUS, then the outcome that the test set. */
#ifndef TERSE_MMIO_H
#define TERSE_MMIO_H

#include <stdint.h>
#include "terse_regs.h"

struct fake {
    uint32_t words[TERSE_WINDOW_BYTES / 4];
    uint32_t delay;      /* status reads while busy */
    uint32_t error;      /* outcome of the next load or start */
    uint32_t reads_left;
    uint32_t outcome;    /* status when no longer busy */
    uint32_t writes;     /* side effects so far */
    uint32_t last_command;
};

static inline uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    struct fake *fake = (struct fake *)base;
    if (offset == TERSE_STATUS) {
        if (fake->reads_left > 0) {
            fake->reads_left--;
            return TERSE_STATUS_BUSY;
        }
        return fake->outcome;
    }
    if (offset == TERSE_CYCLES_LO)
        fake->words[TERSE_CYCLES_HI / 4] = 7; /* latched by the read of the low word */
    return fake->words[offset / 4];
}

static inline void fake_command(struct fake *fake, uint32_t command)
{
    uint32_t good = command == TERSE_CONTROL_LOAD ? TERSE_STATUS_LOADED : TERSE_STATUS_LOADED | TERSE_STATUS_DONE;
    fake->last_command = command;
    fake->reads_left = fake->delay;
    fake->outcome = fake->error ? TERSE_STATUS_ERROR : command == TERSE_CONTROL_RESET ? 0 : good;
    fake->words[TERSE_ERROR / 4] = fake->error;
    fake->words[TERSE_ERROR_PC / 4] = fake->error ? 12 : 0;
}

static inline void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    struct fake *fake = (struct fake *)base;
    fake->writes++;
    if (offset == TERSE_CONTROL)
        fake_command(fake, value);
    else if (offset == TERSE_IRQ_CAUSE)
        fake->words[offset / 4] &= ~value;
    else
        fake->words[offset / 4] = value;
}

#endif
