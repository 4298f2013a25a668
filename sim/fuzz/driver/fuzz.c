/* SPDX-License-Identifier: Apache-2.0 */
/* Random calls of the driver with a machine that answers anything: fuzz SEED FIRST COUNT. Each case follows from seed and
 * number. Every call must end after a bounded number of reads, with a result that its documentation has, and what it gives
 * out must be readable. The sanitizers watch. */
#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <terse_mmio.h>
#include "terse.h"

#define REGISTERS (TERSE_WINDOW_BYTES / 4u)
#define RESULTS 8u
#define PATIENCE 64u  /* reads of one call beside those that it was given */
#define MOST_WORDS 65536u /* of a record in memory */

enum {
    OK = 1u << TERSE_OK,
    ARGUMENT = 1u << TERSE_ARGUMENT,
    IDENTITY = 1u << TERSE_IDENTITY,
    BUSY = 1u << TERSE_BUSY,
    TIMEOUT = 1u << TERSE_TIMEOUT,
    FAULT = 1u << TERSE_FAULT,
    RECORD = 1u << TERSE_RECORD,
    OTHER = 1u << TERSE_RESULTS
};

static struct {
    uint32_t words[REGISTERS];
    unsigned char noisy[REGISTERS]; /* another value at each read */
    uint32_t reads;                 /* since the call began */
    uint32_t most;                  /* reads of the call */
} machine;

static uint64_t state;
static uint64_t number;
static unsigned long long returned[RESULTS];
static struct terse t;

static uint32_t any(void)
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z ^ z >> 31);
}

static uint32_t below(uint32_t bound)
{
    return any() % bound;
}

static uint32_t odd(void)
{
    static const uint32_t ends[] = {0u, 1u, 2u, 4u, 31u, 32u, 64u, 0xFFFFu, 0x10000u, 0x80000000u, 0xFFFFFFE0u, 0xFFFFFFFFu};
    uint32_t way = below(4);
    if (way == 0u)
        return ends[below(sizeof ends / sizeof ends[0])];
    return way == 1u ? any() : way == 2u ? below(256) : 32u * below(256);
}

/* Also what the sanitizers call before they end the process. */
static void tell(void)
{
    fprintf(stderr, "case %llu\n", (unsigned long long)number);
}

static void fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    tell();
    abort();
}

uint32_t terse_mmio_read(volatile void *base, uint32_t offset)
{
    if (base != &machine || offset % 4u != 0u || offset >= TERSE_WINDOW_BYTES)
        fail("read of something that is no register");
    if (++machine.reads > machine.most)
        fail("hang: reads without end");
    return machine.noisy[offset / 4u] ? odd() : machine.words[offset / 4u];
}

void terse_mmio_write(volatile void *base, uint32_t offset, uint32_t value)
{
    if (base != &machine || offset % 4u != 0u || offset >= TERSE_WINDOW_BYTES)
        fail("write of something that is no register");
    if (below(8) != 0u)
        machine.words[offset / 4u] = value;
    if (offset == TERSE_CONTROL)
        machine.words[TERSE_STATUS / 4u] = below(16);
    if (offset == TERSE_QUEUE_COUNT && below(2) != 0u)
        machine.words[TERSE_SENTENCES_DONE / 4u] = value;
}

/* A machine that is mostly sane where terse_init looks, or it would get no further. */
static void make_machine(void)
{
    memset(&machine, 0, sizeof machine);
    for (uint32_t i = 0; i < REGISTERS; i++) {
        machine.words[i] = odd();
        machine.noisy[i] = below(8) == 0u;
    }
    const uint32_t positions = 1u + below(128), layers = 1u + below(12);
    const uint32_t room_of_record = TERSE_RECORD_DROPPED_AT_LAYER(layers) + (positions + 3u) / 4u;
    const uint32_t sane[][2] = {{TERSE_ID, TERSE_ID_VALUE},
                                {TERSE_VERSION, TERSE_VERSION_VALUE},
                                {TERSE_RESULT_WORDS, room_of_record + below(8)},
                                {TERSE_ROWS, positions << 16},
                                {TERSE_FORMAT, layers << 16},
                                {TERSE_SHAPE, (1u + below(8)) << 16},
                                {TERSE_STATUS, below(16) & below(16)}};
    for (uint32_t i = 0; i < sizeof sane / sizeof sane[0]; i++)
        if (below(16) != 0u) {
            machine.words[sane[i][0] / 4u] = sane[i][1];
            machine.noisy[sane[i][0] / 4u] = below(64) == 0u;
        }
}

static void begin(uint32_t polls)
{
    machine.reads = 0;
    machine.most = polls + PATIENCE;
}

static void check(enum terse_result result, unsigned allowed)
{
    if ((unsigned)result >= RESULTS || (allowed >> result & 1u) == 0u) {
        fprintf(stderr, "result %u, allowed are %#x\n", (unsigned)result, allowed);
        fail("a result that the call does not document");
    }
    returned[result]++;
}

/* A pointer of the caller, a few times null. */
static void *maybe(void *pointer)
{
    return below(16) == 0u ? NULL : pointer;
}

static const struct terse *who(void)
{
    return maybe(&t);
}

static void *room(size_t words)
{
    void *memory = malloc(4u * words + (words == 0u));
    if (memory == NULL)
        fail("no memory");
    return memory;
}

static void do_lifecycle(void)
{
    uint32_t polls = below(200);
    begin(polls);
    switch (below(3)) {
    case 0:
        check(terse_reset(who(), polls), OK | ARGUMENT | FAULT | TIMEOUT);
        break;
    case 1:
        check(terse_wait(who(), polls), OK | ARGUMENT | FAULT | TIMEOUT);
        break;
    default:
        check(terse_start(who(), odd(), odd()), OK | ARGUMENT | BUSY | FAULT);
    }
}

static void do_load(void)
{
    struct terse_memory memory;
    uint32_t polls = below(200), at = 0x1000u;
    struct terse_window *windows[4] = {&memory.image, &memory.embedding, &memory.input, &memory.result};
    for (int i = 0; i < 4; i++) { /* mostly good ones, so that the machine gets them */
        windows[i]->base = below(8) == 0u ? odd() : at;
        windows[i]->size = below(8) == 0u ? odd() : 32u * (1u + below(64));
        at += 0x1000u;
    }
    begin(polls);
    check(terse_load(who(), maybe(&memory), polls), OK | ARGUMENT | BUSY | TIMEOUT | FAULT);
}

static void do_run(void)
{
    uint32_t polls = below(200), count = below(4) == 0u ? odd() : 1u + below(4);
    if (below(2) != 0u) { /* windows in which there is room */
        machine.words[TERSE_INPUT_BASE / 4u] = 0x3000u;
        machine.words[TERSE_INPUT_SIZE / 4u] = 0x1000u;
        machine.words[TERSE_RESULT_SIZE / 4u] = odd();
    }
    begin(polls);
    check(terse_run(who(), below(4) == 0u ? odd() : 0x3000u + 32u * below(140), count, polls),
          OK | ARGUMENT | BUSY | TIMEOUT | FAULT | OTHER);
}

static void do_state(void)
{
    uint32_t *word = room(1);
    struct terse_fault *fault = room(sizeof *fault / 4u);
    begin(0);
    switch (below(4)) {
    case 0:
        check(terse_status(who(), maybe(word)), OK | ARGUMENT);
        break;
    case 1:
        check(terse_finished(who(), maybe(word)), OK | ARGUMENT);
        break;
    case 2:
        check(terse_units(who(), maybe(word)), OK | ARGUMENT);
        break;
    default:
        check(terse_read_fault(who(), maybe(fault)), OK | ARGUMENT);
    }
    free(word);
    free(fault);
}

static void do_settings(void)
{
    uint64_t *value = room(2);
    begin(0);
    switch (below(4)) {
    case 0:
        check(terse_set_exit_threshold(who(), odd()), OK | ARGUMENT | BUSY);
        break;
    case 1:
        check(terse_set_watchdog(who(), odd()), OK | ARGUMENT | BUSY);
        break;
    case 2:
        check(terse_set_slot_limit(who(), odd()), OK | ARGUMENT | BUSY);
        break;
    default:
        check(terse_counter(who(), below(4) == 0u ? odd() : TERSE_CYCLES_LO + 4u * below(64), maybe(value)),
              OK | ARGUMENT | TIMEOUT);
    }
    free(value);
}

static void do_interrupts(void)
{
    enum terse_irq irq = (enum terse_irq)(below(2) != 0u ? below(3) : odd());
    uint32_t *word = room(1);
    bool flag;
    begin(0);
    switch (below(8)) {
    case 0:
        check(terse_irq_get_state(who(), maybe(word)), OK | ARGUMENT);
        break;
    case 1:
        check(terse_irq_is_pending(who(), irq, maybe(&flag)), OK | ARGUMENT);
        break;
    case 2:
        check(terse_irq_acknowledge(who(), irq), OK | ARGUMENT);
        break;
    case 3:
        check(terse_irq_acknowledge_state(who(), odd()), OK | ARGUMENT);
        break;
    case 4:
        check(terse_irq_get_enabled(who(), irq, maybe(&flag)), OK | ARGUMENT);
        break;
    case 5:
        check(terse_irq_set_enabled(who(), irq, below(2) != 0u), OK | ARGUMENT);
        break;
    case 6:
        check(terse_irq_disable_all(who(), maybe(word)), OK | ARGUMENT);
        break;
    default:
        check(terse_irq_restore_all(who(), odd()), OK | ARGUMENT);
    }
    free(word);
}

static void do_queue(void)
{
    uint32_t count = below(40);
    uint32_t *queue = room((size_t)TERSE_DESCRIPTOR_WORDS * count), *one = room(TERSE_DESCRIPTOR_WORDS);
    begin(0);
    check(terse_describe(who(), maybe(one), odd(), odd(), odd(), odd()), OK | ARGUMENT);
    for (uint32_t i = 0; i < TERSE_DESCRIPTOR_WORDS * count; i++)
        queue[i] = i % TERSE_DESCRIPTOR_WORDS == TERSE_DESCRIPTOR_TAG ? i : below(3) == 0u ? odd() : below(4);
    check(terse_order_by_deadline(queue, count), OK);
    check(terse_order_by_deadline(NULL, odd()), ARGUMENT);
    for (uint32_t i = 1; i < count; i++) {
        const uint32_t *here = queue + TERSE_DESCRIPTOR_WORDS * i, *last = here - TERSE_DESCRIPTOR_WORDS;
        uint32_t late = last[TERSE_DESCRIPTOR_DEADLINE] - 1u, due = here[TERSE_DESCRIPTOR_DEADLINE] - 1u;
        if (late > due || (late == due && last[TERSE_DESCRIPTOR_TAG] > here[TERSE_DESCRIPTOR_TAG]))
            fail("queue is not in order");
    }
    free(queue);
    free(one);
}

/* Everything that a good record's pointers promise; outside the record the sanitizer stops it. */
static void read_all(const struct terse_sentence *sentence)
{
    volatile uint32_t sum = 0;
    for (uint32_t i = 0; i < TERSE_MAX_CLASSES; i++)
        sum += sentence->logits[i];
    for (uint32_t i = 0; i < t.layers; i++)
        sum += sentence->entropy[i] + sentence->tokens_per_layer[i];
    for (uint32_t i = 0; i < t.positions; i++)
        sum += sentence->dropped_at[i];
    sum += sentence->logits[sentence->class_index] + sentence->entropy[sentence->exit_layer - 1u];
    sum += sentence->dropped_at[sentence->tokens - 1u];
}

static void do_record(void)
{
    /* Of a lying machine's RESULT_WORDS no more than this is there: more than any record has. */
    uint32_t words = t.result_words < MOST_WORDS ? t.result_words : MOST_WORDS;
    uint32_t *record = room(t.base == NULL ? MOST_WORDS : words);
    struct terse_sentence sentence;
    for (uint32_t i = 0; i < words; i++)
        record[i] = odd();
    if (words > TERSE_RECORD_VERDICT && below(2) != 0u) {
        record[TERSE_RECORD_STATUS] = below(4) == 0u ? below(64) : TERSE_ERROR_NONE;
        record[TERSE_RECORD_VERDICT] = below(20) | below(14) << 8 | below(140) << 16;
    }
    begin(0);
    enum terse_result result = terse_read_sentence(who(), maybe(record), maybe(&sentence));
    check(result, OK | ARGUMENT | RECORD);
    if (result == TERSE_OK && sentence.status == TERSE_ERROR_NONE)
        read_all(&sentence);
    if (result == TERSE_OK && sentence.status >= TERSE_ERRORS)
        fail("a status that is no error");
    free(record);
}

/* One case: a machine, found or not, and some calls. */
static enum terse_result run_case(uint64_t seed)
{
    static void (*const calls[])(void) = {do_lifecycle, do_load,       do_run,   do_state,
                                          do_settings,  do_interrupts, do_queue, do_record};
    state = seed * 0xD6E8FEB86659FD93u ^ number * 0xA0761D6478BD642Fu;
    make_machine();
    memset(&t, 0, sizeof t);
    begin(0);
    enum terse_result found = terse_init(maybe(&t), maybe(&machine));
    check(found, OK | ARGUMENT | IDENTITY);
    if (found == TERSE_OK && (t.base == NULL || t.result_words == 0u || t.layers == 0u || t.positions == 0u || t.slots == 0u))
        fail("a machine without sizes");
    for (uint32_t left = 4u + below(12); left > 0u; left--)
        calls[below(sizeof calls / sizeof calls[0])]();
    return found;
}

int main(int count, char **arguments)
{
    unsigned long long ends[RESULTS] = {0};
    if (count != 4)
        return 2;
    uint64_t seed = strtoull(arguments[1], NULL, 0), first = strtoull(arguments[2], NULL, 0);
    uint64_t cases = strtoull(arguments[3], NULL, 0);
    __sanitizer_set_death_callback(tell);
    for (number = first; number < first + cases; number++)
        ends[run_case(seed)]++;
    for (uint32_t i = 0; i < RESULTS; i++)
        printf("%llu %llu\n", ends[i], returned[i]);
    return 0;
}
