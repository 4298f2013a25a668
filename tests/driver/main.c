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

struct fake fake;
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
    fake.words[TERSE_SHAPE / 4] = 8u | 8u << 8 | 2u << 16 | 4u << 24;
    fake.delay = 3;
    return terse_init(&t, &fake) == TERSE_OK && fake.writes == 0;
}

static int test_init(void)
{
    EXPECT(t.result_words == 64 && t.positions == 48 && t.layers == 6 && t.slots == 2);
    EXPECT(terse_init(NULL, &fake) == TERSE_ARGUMENT && terse_init(&t, NULL) == TERSE_ARGUMENT);
    fake.words[TERSE_VERSION / 4]++;
    EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY);
    fake.words[TERSE_ID / 4] = 0;
    EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY);
    return 0;
}

static int test_nothing_divides_by_zero(void)
{
    const uint32_t offsets[4] = {TERSE_RESULT_WORDS, TERSE_ROWS, TERSE_FORMAT, TERSE_SHAPE};
    for (int i = 0; i < 4; i++) {
        EXPECT(prepare());
        fake.words[offsets[i] / 4] = 0;
        EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY);
        EXPECT(terse_start(&t, 0x4000, 1) == TERSE_ARGUMENT);
    }
    return 0;
}

static int test_record_without_room(void)
{
    const uint32_t least = 24u + 2u * 6u + 48u / 4u; /* of 6 layers and 48 positions */
    fake.words[TERSE_RESULT_WORDS / 4] = least;
    EXPECT(terse_init(&t, &fake) == TERSE_OK);
    fake.words[TERSE_RESULT_WORDS / 4] = least - 1;
    EXPECT(terse_init(&t, &fake) == TERSE_IDENTITY && terse_wait(&t, 1) == TERSE_ARGUMENT);
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
        EXPECT(terse_describe(&t, queue + TERSE_DESCRIPTOR_WORDS * i, 0x4000 + 32 * i, i + 1, deadlines[i], i) == TERSE_OK);
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

static int test_windows_share_no_byte(void)
{
    struct terse_memory bad[4] = {memory, memory, memory, memory};
    bad[0].result.base = memory.image.base;
    bad[1].result.base = memory.input.base + memory.input.size - 32;
    bad[2].input = (struct terse_window){memory.image.base - 32, 64};
    bad[3].image = (struct terse_window){0, 0x10000};
    for (int i = 0; i < 4; i++)
        EXPECT(terse_load(&t, &bad[i], 10) == TERSE_ARGUMENT && fake.writes == 0);
    struct terse_memory good = memory;
    good.input = (struct terse_window){memory.image.base + memory.image.size, 0x100};
    good.embedding = memory.image; /* another port */
    EXPECT(terse_load(&t, &good, 10) == TERSE_OK);
    return 0;
}

static int test_fault(void)
{
    struct terse_fault fault;
    fake.error = TERSE_ERROR_IMAGE_CRC;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_FAULT);
    EXPECT(terse_read_fault(&t, &fault) == TERSE_OK && fault.code == TERSE_ERROR_IMAGE_CRC && fault.pc == 12);
    fake.error = 0;
    uint32_t writes = fake.writes;
    EXPECT(terse_start(&t, 0x4000, 1) == TERSE_FAULT && terse_load(&t, &memory, 10) == TERSE_FAULT);
    EXPECT(fake.writes == writes);
    EXPECT(terse_reset(&t, 10) == TERSE_OK && fake.last_command == TERSE_CONTROL_RESET);
    EXPECT(terse_read_fault(&t, &fault) == TERSE_OK && fault.code == TERSE_ERROR_NONE);
    return 0;
}

static int test_timeout(void)
{
    fake.delay = 11;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_TIMEOUT);
    EXPECT(terse_wait(&t, 0) == TERSE_TIMEOUT && terse_wait(&t, 2) == TERSE_OK);
    return 0;
}

static int test_barriers_and_delays(void)
{
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    EXPECT(fake.barriers_at_command == 1 && fake.barriers == 2 && fake.delays == fake.delay);
    EXPECT(terse_start(&t, 0x4000, 1) == TERSE_OK && fake.barriers_at_command == 3 && fake.barriers == 3);
    EXPECT(terse_wait(&t, 10) == TERSE_OK && fake.barriers == 4 && fake.delays == 2 * fake.delay);
    EXPECT(terse_irq_acknowledge_state(&t, 7) == TERSE_OK && fake.barriers == 5);
    return 0;
}

static int test_run(void)
{
    uint32_t queue[TERSE_DESCRIPTOR_WORDS];
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    EXPECT(terse_describe(&t, queue, 0x4020, 9, 5000, 77) == TERSE_OK);
    EXPECT(queue[0] == 0x4020 && queue[1] == 9 && queue[2] == 5000 && queue[3] == 77);
    EXPECT(terse_describe(&t, queue, 0x4024, 9, 0, 0) == TERSE_ARGUMENT);
    EXPECT(terse_describe(&t, queue, 0x4020, 0, 0, 0) == TERSE_ARGUMENT);
    EXPECT(terse_describe(&t, queue, 0x4020, 49, 0, 0) == TERSE_ARGUMENT);
    EXPECT(terse_describe(&t, queue, 0x4020, 48, 0, 77) == TERSE_OK);
    EXPECT(terse_token(5, 1) == 0x80000005u);
    EXPECT(terse_run(&t, 0x4000, 3, 10) == TERSE_OK && fake.last_command == TERSE_CONTROL_START);
    fake.missing = 1;
    EXPECT(terse_run(&t, 0x4000, 3, 10) == TERSE_RESULTS);
    fake.missing = 0;
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

static int test_interrupt_causes(void)
{
    uint32_t causes;
    bool is_pending;
    fake.words[TERSE_IRQ_CAUSE / 4] = TERSE_IRQ_CAUSE_DONE | TERSE_IRQ_CAUSE_LOADED;
    EXPECT(terse_irq_get_state(&t, &causes) == TERSE_OK && causes == 5);
    EXPECT(terse_irq_is_pending(&t, TERSE_IRQ_DONE, &is_pending) == TERSE_OK && is_pending);
    EXPECT(terse_irq_is_pending(&t, TERSE_IRQ_ERROR, &is_pending) == TERSE_OK && !is_pending);
    EXPECT(terse_irq_acknowledge(&t, TERSE_IRQ_DONE) == TERSE_OK);
    EXPECT(fake.words[TERSE_IRQ_CAUSE / 4] == TERSE_IRQ_CAUSE_LOADED);
    EXPECT(terse_irq_acknowledge_state(&t, causes) == TERSE_OK && fake.words[TERSE_IRQ_CAUSE / 4] == 0);
    EXPECT(terse_irq_acknowledge_state(&t, 8) == TERSE_ARGUMENT);
    EXPECT(terse_irq_acknowledge(&t, (enum terse_irq)3) == TERSE_ARGUMENT);
    EXPECT(terse_irq_get_state(&t, NULL) == TERSE_ARGUMENT);
    return 0;
}

static int test_interrupt_enables(void)
{
    uint32_t snapshot;
    bool enabled;
    EXPECT(terse_irq_set_enabled(&t, TERSE_IRQ_DONE, true) == TERSE_OK);
    EXPECT(terse_irq_set_enabled(&t, TERSE_IRQ_ERROR, true) == TERSE_OK);
    EXPECT(fake.words[TERSE_IRQ_ENABLE / 4] == (TERSE_IRQ_ENABLE_DONE | TERSE_IRQ_ENABLE_ERROR));
    EXPECT(terse_irq_set_enabled(&t, TERSE_IRQ_DONE, false) == TERSE_OK);
    EXPECT(terse_irq_get_enabled(&t, TERSE_IRQ_DONE, &enabled) == TERSE_OK && !enabled);
    EXPECT(terse_irq_disable_all(&t, &snapshot) == TERSE_OK && snapshot == TERSE_IRQ_ENABLE_ERROR);
    EXPECT(fake.words[TERSE_IRQ_ENABLE / 4] == 0 && terse_irq_disable_all(&t, NULL) == TERSE_OK);
    EXPECT(terse_irq_restore_all(&t, snapshot) == TERSE_OK);
    EXPECT(terse_irq_get_enabled(&t, TERSE_IRQ_ERROR, &enabled) == TERSE_OK && enabled);
    EXPECT(terse_irq_restore_all(&t, 8) == TERSE_ARGUMENT);
    return 0;
}

static int test_state(void)
{
    uint32_t value;
    EXPECT(terse_load(&t, &memory, 10) == TERSE_OK);
    EXPECT(terse_status(&t, &value) == TERSE_OK && value == TERSE_STATUS_LOADED);
    fake.words[TERSE_SENTENCES_DONE / 4] = 2;
    EXPECT(terse_finished(&t, &value) == TERSE_OK && value == 2);
    fake.words[TERSE_UNITS / 4] = TERSE_UNITS_DVFS | TERSE_UNITS_DROP;
    EXPECT(terse_units(&t, &value) == TERSE_OK && value == (TERSE_UNITS_DVFS | TERSE_UNITS_DROP));
    EXPECT(terse_units(&t, NULL) == TERSE_ARGUMENT);
    return 0;
}

static int test_settings(void)
{
    EXPECT(terse_set_exit_threshold(&t, 1u << 18) == TERSE_ARGUMENT);
    EXPECT(terse_set_slot_limit(&t, 0) == TERSE_ARGUMENT && terse_set_slot_limit(&t, 3) == TERSE_ARGUMENT);
    EXPECT(fake.writes == 0);
    EXPECT(terse_set_exit_threshold(&t, 1000) == TERSE_OK && fake.words[TERSE_EXIT_THRESHOLD / 4] == 1000);
    EXPECT(terse_set_slot_limit(&t, 2) == TERSE_OK && fake.words[TERSE_SLOT_LIMIT / 4] == 2);
    EXPECT(terse_set_watchdog(&t, 9) == TERSE_OK && fake.words[TERSE_WATCHDOG / 4] == 9);
    fake.reads_left = 3;
    EXPECT(terse_set_exit_threshold(&t, 1) == TERSE_BUSY && terse_set_watchdog(&t, 1) == TERSE_BUSY);
    EXPECT(terse_set_slot_limit(&t, 1) == TERSE_BUSY && fake.writes == 3);
    return 0;
}

static int test_counter(void)
{
    uint64_t value;
    fake.words[TERSE_CYCLES_LO / 4] = 9;
    fake.words[TERSE_CYCLES_HI / 4] = 7;
    EXPECT(terse_counter(&t, TERSE_CYCLES_LO, &value) == TERSE_OK && value == (7ull << 32 | 9));
    fake.words[TERSE_CYCLES_LO / 4] = UINT32_MAX;
    fake.carries = 1;
    EXPECT(terse_counter(&t, TERSE_CYCLES_LO, &value) == TERSE_OK && value == 8ull << 32);
    fake.carries = 1000; /* nobody is there: every read another value */
    EXPECT(terse_counter(&t, TERSE_CYCLES_LO, &value) == TERSE_TIMEOUT);
    fake.carries = 0;
    EXPECT(terse_counter(&t, TERSE_CYCLES_HI, &value) == TERSE_ARGUMENT);
    fake.words[TERSE_SKIPPED_EXITS_LO / 4] = 5;
    EXPECT(terse_counter(&t, TERSE_SKIPPED_EXITS_LO, &value) == TERSE_OK && value == 5);
    EXPECT(terse_counter(&t, TERSE_ID, &value) == TERSE_ARGUMENT);
    EXPECT(terse_counter(&t, TERSE_COUNTERS_END, &value) == TERSE_ARGUMENT);
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
    EXPECT(terse_read_sentence(&t, record, &s) == TERSE_OK);
    EXPECT(s.status == TERSE_ERROR_NONE && s.tag == 77 && s.class_index == 1 && s.exit_layer == 3 && s.tokens == 20);
    EXPECT(s.cycles == 1234 && s.passes == 4 && s.predicted_exit_layer == 5 && (int32_t)s.logits[1] == -6);
    EXPECT(s.entropy[0] == 65536 && s.tokens_per_layer[0] >> 16 == 12 && s.dropped_at[1] == 0);
    EXPECT(terse_read_sentence(&t, NULL, &s) == TERSE_ARGUMENT && terse_read_sentence(NULL, record, &s) == TERSE_ARGUMENT);
    return 0;
}

static int test_record_is_checked(void)
{
    const uint32_t verdicts[5] = {16u | 3u << 8 | 20u << 16, 1u | 20u << 16, 1u | 7u << 8 | 20u << 16, 1u | 3u << 8,
                                  1u | 3u << 8 | 49u << 16};
    uint32_t record[64] = {0};
    struct terse_sentence s;
    EXPECT(terse_read_sentence(&t, record, &s) == TERSE_RECORD); /* memory that nobody wrote */
    for (int i = 0; i < 5; i++) {
        record[TERSE_RECORD_VERDICT] = verdicts[i];
        EXPECT(terse_read_sentence(&t, record, &s) == TERSE_RECORD);
    }
    record[TERSE_RECORD_STATUS] = TERSE_ERROR_SENTENCE_TOKEN;
    EXPECT(terse_read_sentence(&t, record, &s) == TERSE_OK && s.status == TERSE_ERROR_SENTENCE_TOKEN);
    record[TERSE_RECORD_STATUS] = 0xEEEEEEEEu;
    EXPECT(terse_read_sentence(&t, record, &s) == TERSE_RECORD);
    return 0;
}

static const struct { const char *name; int (*run)(void); } tests[] = {
    {"init", test_init}, {"nothing_divides_by_zero", test_nothing_divides_by_zero}, {"load", test_load},
    {"order_by_deadline", test_order_by_deadline}, {"load_guards", test_load_guards},
    {"windows_share_no_byte", test_windows_share_no_byte}, {"fault", test_fault}, {"timeout", test_timeout},
    {"barriers_and_delays", test_barriers_and_delays}, {"run", test_run}, {"start_guards", test_start_guards},
    {"interrupt_causes", test_interrupt_causes}, {"interrupt_enables", test_interrupt_enables},
    {"state", test_state}, {"settings", test_settings}, {"counter", test_counter}, {"record_without_room", test_record_without_room}, {"sentence", test_sentence},
    {"record_is_checked", test_record_is_checked},
};

int main(int count, char **arguments)
{
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (count == 2 && strcmp(arguments[1], tests[i].name) == 0)
            return prepare() ? tests[i].run() : 2;
    return 3;
}
