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
    uint32_t barriers;
    uint32_t delays;
    uint32_t barriers_at_command; /* that came before the last command */
    uint32_t carries;    /* of the counter CYCLES, each behind a read of its high word */
    uint32_t missing;    /* results of the next queue */
};

extern struct fake fake;

static inline uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    struct fake *file = (struct fake *)base;
    if (offset == TERSE_STATUS) {
        if (file->reads_left > 0) {
            file->reads_left--;
            return TERSE_STATUS_BUSY;
        }
        return file->outcome;
    }
    uint32_t value = file->words[offset / 4];
    if (offset == TERSE_CYCLES_HI && file->carries > 0) {
        file->carries--; /* the counter moves on behind the read */
        file->words[TERSE_CYCLES_HI / 4]++;
        file->words[TERSE_CYCLES_LO / 4] = 0;
    }
    return value;
}

static inline void fake_command(struct fake *file, uint32_t command)
{
    if (command != TERSE_CONTROL_RESET && (file->outcome & TERSE_STATUS_ERROR) != 0)
        return; /* as the machine does */
    uint32_t good = command == TERSE_CONTROL_LOAD ? TERSE_STATUS_LOADED : TERSE_STATUS_LOADED | TERSE_STATUS_DONE;
    if (command == TERSE_CONTROL_START)
        file->words[TERSE_SENTENCES_DONE / 4] = file->words[TERSE_QUEUE_COUNT / 4] - file->missing;
    file->last_command = command;
    file->barriers_at_command = file->barriers;
    file->reads_left = file->delay;
    file->outcome = file->error ? TERSE_STATUS_ERROR : command == TERSE_CONTROL_RESET ? 0 : good;
    file->words[TERSE_ERROR / 4] = file->error;
    file->words[TERSE_ERROR_PC / 4] = file->error ? 12 : 0;
}

static inline void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    struct fake *file = (struct fake *)base;
    file->writes++;
    if (offset == TERSE_CONTROL)
        fake_command(file, value);
    else if (offset == TERSE_IRQ_CAUSE)
        file->words[offset / 4] &= ~value;
    else
        file->words[offset / 4] = value;
}

static inline void terse_mmio_barrier(void)
{
    fake.barriers++;
}

static inline void terse_mmio_delay(volatile void *base)
{
    (void)base;
    fake.delays++;
}

#endif
