/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of memory and registers under an optimiser that sees everything: driver and caller are one unit, the machine is
 * a thread. Without the barriers a store to the queue may come after the command, and a record be read from what the
 * compiler believes to be in it. Exit status 0 is a pass.
 */
#include <pthread.h>
#include <string.h>
#include "terse.c"
#include "terse_queue.c"

#define RUNS 2000u

static volatile uint32_t registers[TERSE_WINDOW_BYTES / 4u];
static uint32_t queue[TERSE_DESCRIPTOR_WORDS];
static uint32_t record[64];
static uint32_t stale;

/* One sentence after the other: its tag comes back as class, exit layer and status. */
static void *machine(void *unused)
{
    uint32_t volatile *seen = queue;
    for (uint32_t run = 1; run <= RUNS; run++) {
        while (registers[TERSE_CONTROL / 4u] != TERSE_CONTROL_START)
            ;
        terse_mmio_barrier();
        registers[TERSE_CONTROL / 4u] = 0;
        stale += seen[TERSE_DESCRIPTOR_TAG] != run;
        record[TERSE_RECORD_TAG] = run;
        record[TERSE_RECORD_VERDICT] = run % TERSE_MAX_CLASSES | 1u << 8 | 1u << 16;
        record[TERSE_RECORD_STATUS] = TERSE_ERROR_NONE;
        terse_mmio_barrier();
        registers[TERSE_STATUS / 4u] = TERSE_STATUS_DONE;
    }
    return unused;
}

static int sentence(const struct terse *t, uint32_t run)
{
    struct terse_sentence s;
    memset(record, 0xEE, sizeof record);
    if (terse_describe(t, queue, 0x1000, 1, 0, run) != TERSE_OK)
        return 1;
    registers[TERSE_STATUS / 4u] = 0;
    if (terse_start(t, 0x1000, 1) != TERSE_OK)
        return 2;
    while (registers[TERSE_STATUS / 4u] != TERSE_STATUS_DONE)
        ;
    if (terse_wait(t, 1) != TERSE_OK)
        return 3;
    if (terse_read_sentence(t, record, &s) != TERSE_OK)
        return 4;
    return s.tag == run && s.class_index == run % TERSE_MAX_CLASSES ? 0 : 5;
}

int main(void)
{
    struct terse t;
    pthread_t thread;
    registers[TERSE_ID / 4u] = TERSE_ID_VALUE;
    registers[TERSE_VERSION / 4u] = TERSE_VERSION_VALUE;
    registers[TERSE_ROWS / 4u] = 64u | 64u << 16;
    registers[TERSE_RESULT_WORDS / 4u] = 64;
    registers[TERSE_FORMAT / 4u] = 6u << 16;
    registers[TERSE_SHAPE / 4u] = 1u << 16;
    registers[TERSE_INPUT_BASE / 4u] = 0x1000;
    registers[TERSE_INPUT_SIZE / 4u] = 0x1000;
    registers[TERSE_RESULT_SIZE / 4u] = sizeof record;
    if (terse_init(&t, registers) != TERSE_OK || pthread_create(&thread, NULL, machine, NULL) != 0)
        return 9;
    for (uint32_t run = 1; run <= RUNS; run++) {
        int wrong = sentence(&t, run);
        if (wrong != 0)
            return wrong;
    }
    return pthread_join(thread, NULL) != 0 || stale != 0 ? 8 : 0;
}
