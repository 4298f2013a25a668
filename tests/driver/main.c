/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios of the driver against the fake register file: run one by name; exit status 0 is a pass. */
#include <stdio.h>
#include <string.h>
#include <terse_mmio.h>
#include "terse.h"

#define EXPECT(condition)                                                     \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);           \
            return 1;                                                         \
        }                                                                     \
    } while (0)

static struct fake fake;
static struct terse t;
static const struct terse_memory memory = {{0x1000, 0x400}, {0, 0x800}, {0x4000, 0x1000}, {0x8000, 3 * 64 * 4}};

static int prepare(void)
{
    memset(&fake, 0, sizeof fake);
    fake.words[TERSE_ID / 4] = TERSE_ID_VALUE;
    fake.words[TERSE_VERSION / 4] = TERSE_VERSION_VALUE;
    fake.words[TERSE_ROWS / 4] = 64u | 48u << 16;
    fake.words[TERSE_RESULT_WORDS / 4] = 64;
    fake.words[TERSE_FORMAT / 4] = 8u | 3u << 8 | 6u << 16;
    fake.delay = 3;
    return terse_init(&t, &fake) == TERSE_OK && fake.writes == 0;
}

static int test_init(void)
{
    EXPECT(t.result_words == 64 && t.positions == 48);
    EXPECT(terse_init(NULL, &fake) == TERSE_ARGUMENT && terse_init(&t, NULL) == TERSE_ARGUMENT);
    fake.words[TERSE_VERSION / 4]++;
    EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY);
    fake.words[TERSE_ID / 4] = 0;
    EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY);
    return 0;
}

static int test_load(void)
{
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    EXPECT(fake.last_command == TERSE_CONTROL_LOAD);
    EXPECT(fake.words[TERSE_IMAGE_BASE / 4] == 0x1000 && fake.words[TERSE_IMAGE_SIZE / 4] == 0x400);
    EXPECT(fake.words[TERSE_RESULT_BASE / 4] == 0x8000 && fake.words[TERSE_INPUT_SIZE / 4] == 0x1000);
    return 0;
}

static int test_order_by_deadline(void)
{
    uint32_t queue[7 * TERSE_DESCRIPTOR_WORDS];
    const uint32_t deadlines[7] = {500, 0, 7, 500, 0xFFFFFFFFu, 1, 0}, tags[7] = {5, 2, 0, 3, 4, 1, 6};
    for (uint32_t i = 0; i < 7; i++)
        EXPECT(terse_describe(queue + TERSE_DESCRIPTOR_WORDS * i, 0x4000 + 32 * i, i + 1, deadlines[i], i) == TERSE_OK);
    EXPECT(terse_order_by_deadline(NULL, 7) == TERSE_ARGUMENT && terse_order_by_deadline(queue, 0) == TERSE_OK);
    EXPECT(terse_order_by_deadline(queue, 7) == TERSE_OK);
    for (uint32_t i = 0; i < 7; i++) {
        const uint32_t *descriptor = queue + TERSE_DESCRIPTOR_WORDS * i, tag = descriptor[3];
        EXPECT(tag == tags[i] && descriptor[0] == 0x4000 + 32 * tag && descriptor[1] == tag + 1 && descriptor[2] == deadlines[tag]);
    }
    return 0;
}

static int test_load_guards(void)
{
    struct terse_memory bad[5] = {memory, memory, memory, memory, memory};
    bad[0].image.base += 4;
    bad[1].embedding.size += 4;
    bad[2].input.size = 0;
    bad[3].result.base = 0xFFFFFFE0u;
    bad[4].image.size -= 1;
    for (int i = 0; i < 5; i++)
        EXPECT(terse_load(&t, &bad[i], 10) == TERSE_ARGUMENT);
    EXPECT(terse_load(&t, NULL, 10) == TERSE_ARGUMENT);
    fake.reads_left = 1;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_BUSY);
    EXPECT(fake.writes == 0);
    return 0;
}

static int test_fault(void)
{
    struct terse_fault fault;
    fake.error = TERSE_ERROR_IMAGE_CRC;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_FAULT);
    EXPECT(terse_fault(&t, &fault) == TERSE_OK && fault.code == TERSE_ERROR_IMAGE_CRC && fault.pc == 12);
    fake.error = 0;
    EXPECT(terse_reset(&t, 10) == TERSE_OK && fake.last_command == TERSE_CONTROL_RESET);
    EXPECT(terse_fault(&t, &fault) == TERSE_OK && fault.code == TERSE_ERROR_NONE);
    return 0;
}

static int test_timeout(void)
{
    fake.delay = 11;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_TIMEOUT);
    EXPECT(terse_wait(&t, 0) == TERSE_TIMEOUT && terse_wait(&t, 2) == TERSE_OK);
    return 0;
}

static int test_run(void)
{
    uint32_t queue[TERSE_DESCRIPTOR_WORDS];
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    EXPECT(terse_describe(queue, 0x4020, 9, 5000, 77) == TERSE_OK);
    EXPECT(queue[0] == 0x4020 && queue[1] == 9 && queue[2] == 5000 && queue[3] == 77);
    EXPECT(terse_describe(queue, 0x4024, 9, 0, 0) == TERSE_ARGUMENT);
    EXPECT(terse_token(5, 1) == 0x80000005u);
    EXPECT(terse_run(&t, 0x4000, 3, 10) == TERSE_OK && fake.last_command == TERSE_CONTROL_START);
    EXPECT(fake.words[TERSE_QUEUE_BASE / 4] == 0x4000 && fake.words[TERSE_QUEUE_COUNT / 4] == 3);
    return 0;
}

static int test_start_guards(void)
{
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    uint32_t writes = fake.writes;
    EXPECT(terse_start(&t, 0x4000, 0) == TERSE_ARGUMENT);
    EXPECT(terse_start(&t, 0x4000, 4) == TERSE_ARGUMENT); /* results do not fit */
    EXPECT(terse_start(&t, 0x4010, 1) == TERSE_ARGUMENT);
    EXPECT(terse_start(&t, 0x3FE0, 1) == TERSE_ARGUMENT);
    EXPECT(terse_start(&t, 0x4FE0, 3) == TERSE_ARGUMENT); /* queue leaves the window */
    fake.reads_left = 1;
    EXPECT(terse_start(&t, 0x4000, 1) == TERSE_BUSY);
    EXPECT(fake.writes == writes);
    return 0;
}

static int test_interrupt(void)
{
    uint32_t causes;
    EXPECT(terse_enable_interrupts(&t, TERSE_IRQ_ENABLE_DONE | TERSE_IRQ_ENABLE_ERROR) == TERSE_OK);
    EXPECT(fake.words[TERSE_IRQ_ENABLE / 4] == 3);
    fake.words[TERSE_IRQ_CAUSE / 4] = TERSE_IRQ_CAUSE_DONE;
    EXPECT(terse_acknowledge(&t, &causes) == TERSE_OK && causes == TERSE_IRQ_CAUSE_DONE);
    EXPECT(fake.words[TERSE_IRQ_CAUSE / 4] == 0);
    return 0;
}

static int test_counter(void)
{
    uint64_t value;
    fake.words[TERSE_CYCLES_LO / 4] = 9;
    EXPECT(terse_counter(&t, TERSE_CYCLES_LO, &value) == TERSE_OK && value == (7ull << 32 | 9));
    EXPECT(terse_counter(&t, TERSE_CYCLES_HI, &value) == TERSE_ARGUMENT);
    fake.words[TERSE_SKIPPED_EXITS_LO / 4] = 5;
    EXPECT(terse_counter(&t, TERSE_SKIPPED_EXITS_LO, &value) == TERSE_OK && value == 5);
    EXPECT(terse_counter(&t, TERSE_ID, &value) == TERSE_ARGUMENT);
    EXPECT(terse_counter(&t, TERSE_COUNTERS_END, &value) == TERSE_ARGUMENT);
    return 0;
}

static int test_threshold(void)
{
    EXPECT(terse_set_exit_threshold(&t, 1u << 18) == TERSE_ARGUMENT && fake.writes == 0);
    EXPECT(terse_set_exit_threshold(&t, 1000) == TERSE_OK && fake.words[TERSE_EXIT_THRESHOLD / 4] == 1000);
    return 0;
}

static int test_sentence(void)
{
    uint32_t record[64] = {0, 77, 1u | 3u << 8 | 20u << 16, 1234, 0, 4, 5};
    struct terse_sentence s;
    record[9] = (uint32_t)-6;
    record[24] = 65536;
    record[30] = 20u | 12u << 16;
    record[36] = 0xFF00FFu;
    EXPECT(terse_sentence(&t, record, &s) == TERSE_OK);
    EXPECT(s.status == TERSE_ERROR_NONE && s.tag == 77 && s.class_index == 1 && s.exit_layer == 3 && s.tokens == 20);
    EXPECT(s.cycles == 1234 && s.passes == 4 && s.predicted_exit_layer == 5 && (int32_t)s.logits[1] == -6);
    EXPECT(s.entropy[0] == 65536 && s.tokens_per_layer[0] >> 16 == 12 && s.dropped_at[1] == 0);
    EXPECT(terse_sentence(&t, NULL, &s) == TERSE_ARGUMENT && terse_sentence(NULL, record, &s) == TERSE_ARGUMENT);
    return 0;
}

static const struct { const char *name; int (*run)(void); } tests[] = {
    {"init", test_init}, {"load", test_load}, {"order_by_deadline", test_order_by_deadline},
    {"load_guards", test_load_guards}, {"fault", test_fault},
    {"timeout", test_timeout}, {"run", test_run}, {"start_guards", test_start_guards},
    {"interrupt", test_interrupt}, {"counter", test_counter}, {"threshold", test_threshold}, {"sentence", test_sentence},
};

int main(int count, char **arguments)
{
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (count == 2 && strcmp(arguments[1], tests[i].name) == 0)
            return prepare() ? tests[i].run() : 2;
    return 3;
}
