/* SPDX-License-Identifier: Apache-2.0 */
/* Life cycle, state and settings. */
#include "terse_access.h"

#define COUNTER_TRIES 4u

/* Not empty, aligned, and inside the address space. */
static bool is_window(const struct terse_window *window)
{
    return window->size != 0u && terse_is_aligned(window->base) && window->size - 1u <= UINT32_MAX - window->base;
}

static bool is_disjoint(const struct terse_window *one, const struct terse_window *other)
{
    if (one->base <= other->base)
        return other->base - one->base >= one->size;
    return one->base - other->base >= other->size;
}

static bool is_inside(uint32_t base, uint32_t size, uint32_t window_base, uint32_t window_size)
{
    return base >= window_base && size <= window_size && base - window_base <= window_size - size;
}

static bool is_memory(const struct terse_memory *memory)
{
    if (!is_window(&memory->image) || !is_window(&memory->embedding) || !is_window(&memory->input) ||
        !is_window(&memory->result))
        return false;
    if (!terse_is_aligned(memory->image.size) || !terse_is_aligned(memory->embedding.size))
        return false;
    /* A result over the image would be a wrong answer with the status "ok". */
    return is_disjoint(&memory->image, &memory->input) && is_disjoint(&memory->image, &memory->result) &&
           is_disjoint(&memory->input, &memory->result);
}

/* Whether a command would be obeyed: while busy, and after an error, the machine ignores all but a reset. */
static enum terse_result may_command(const struct terse *t)
{
    uint32_t status = terse_get(t, TERSE_STATUS);
    if ((status & TERSE_STATUS_BUSY) != 0u)
        return TERSE_BUSY;
    return (status & TERSE_STATUS_ERROR) != 0u ? TERSE_FAULT : TERSE_OK;
}

/* What was written to memory before is there when the machine begins. */
static void command(const struct terse *t, uint32_t bit)
{
    terse_mmio_barrier();
    terse_put(t, TERSE_CONTROL, bit);
}

/* What terse_read_sentence points to lies inside a record. */
static bool is_room(const struct terse *t)
{
    uint32_t words = TERSE_RECORD_DROPPED_AT_LAYER(t->layers) + (t->positions + 3u) / 4u;
    return t->result_words >= words;
}

enum terse_result terse_init(struct terse *t, volatile void *base)
{
    if (t == NULL || base == NULL)
        return TERSE_ARGUMENT;
    if (terse_mmio_read(base, TERSE_ID) != TERSE_ID_VALUE)
        return TERSE_IDENTITY;
    if (terse_mmio_read(base, TERSE_VERSION) != TERSE_VERSION_VALUE)
        return TERSE_IDENTITY;
    t->base = base;
    t->result_words = terse_get(t, TERSE_RESULT_WORDS);
    t->positions = TERSE_ROWS_POSITIONS(terse_get(t, TERSE_ROWS));
    t->layers = TERSE_FORMAT_LAYERS(terse_get(t, TERSE_FORMAT));
    t->slots = TERSE_SHAPE_SLOTS(terse_get(t, TERSE_SHAPE));
    if (t->positions == 0u || t->layers == 0u || t->slots == 0u || !is_room(t)) {
        t->base = NULL; /* every other call refuses it */
        return TERSE_IDENTITY;
    }
    return TERSE_OK;
}

enum terse_result terse_wait(const struct terse *t, uint32_t polls)
{
    if (!terse_is_ready(t))
        return TERSE_ARGUMENT;
    for (uint32_t i = 0; i < polls; i++) {
        enum terse_result result = may_command(t);
        if (result != TERSE_BUSY) {
            terse_mmio_barrier(); /* no result is read before this */
            return result;
        }
        terse_mmio_delay(t->base);
    }
    return TERSE_TIMEOUT;
}

enum terse_result terse_reset(const struct terse *t, uint32_t polls)
{
    if (!terse_is_ready(t))
        return TERSE_ARGUMENT;
    command(t, TERSE_CONTROL_RESET);
    return terse_wait(t, polls);
}

static void put_window(const struct terse *t, uint32_t base_offset, const struct terse_window *window)
{
    terse_put(t, base_offset, window->base);
    terse_put(t, base_offset + 4u, window->size);
}

enum terse_result terse_load(const struct terse *t, const struct terse_memory *memory, uint32_t polls)
{
    if (!terse_is_ready(t) || memory == NULL || !is_memory(memory))
        return TERSE_ARGUMENT;
    enum terse_result result = may_command(t);
    if (result != TERSE_OK)
        return result;
    put_window(t, TERSE_IMAGE_BASE, &memory->image);
    put_window(t, TERSE_EMBEDDING_BASE, &memory->embedding);
    put_window(t, TERSE_INPUT_BASE, &memory->input);
    put_window(t, TERSE_RESULT_BASE, &memory->result);
    command(t, TERSE_CONTROL_LOAD);
    return terse_wait(t, polls);
}

enum terse_result terse_start(const struct terse *t, uint32_t queue, uint32_t count)
{
    if (!terse_is_ready(t) || !terse_is_aligned(queue) || count == 0u || count > UINT16_MAX)
        return TERSE_ARGUMENT;
    if (!is_inside(queue, 4u * TERSE_DESCRIPTOR_WORDS * count, terse_get(t, TERSE_INPUT_BASE),
                   terse_get(t, TERSE_INPUT_SIZE)))
        return TERSE_ARGUMENT;
    if (count > terse_get(t, TERSE_RESULT_SIZE) / 4u / t->result_words)
        return TERSE_ARGUMENT;
    enum terse_result result = may_command(t);
    if (result != TERSE_OK)
        return result;
    terse_put(t, TERSE_QUEUE_BASE, queue);
    terse_put(t, TERSE_QUEUE_COUNT, count);
    command(t, TERSE_CONTROL_START);
    return TERSE_OK;
}

enum terse_result terse_run(const struct terse *t, uint32_t queue, uint32_t count, uint32_t polls)
{
    enum terse_result result = terse_start(t, queue, count);
    if (result == TERSE_OK)
        result = terse_wait(t, polls);
    if (result == TERSE_OK && terse_get(t, TERSE_SENTENCES_DONE) != count)
        result = TERSE_RESULTS;
    return result;
}

/* A register that may always be read. */
static enum terse_result read_register(const struct terse *t, uint32_t offset, uint32_t *value)
{
    if (!terse_is_ready(t) || value == NULL)
        return TERSE_ARGUMENT;
    *value = terse_get(t, offset);
    return TERSE_OK;
}

enum terse_result terse_status(const struct terse *t, uint32_t *status)
{
    return read_register(t, TERSE_STATUS, status);
}

enum terse_result terse_finished(const struct terse *t, uint32_t *count)
{
    enum terse_result result = read_register(t, TERSE_SENTENCES_DONE, count);
    terse_mmio_barrier(); /* the records that it counts are read after this */
    return result;
}

enum terse_result terse_units(const struct terse *t, uint32_t *units)
{
    return read_register(t, TERSE_UNITS, units);
}

enum terse_result terse_read_fault(const struct terse *t, struct terse_fault *fault)
{
    if (!terse_is_ready(t) || fault == NULL)
        return TERSE_ARGUMENT;
    fault->code = terse_get(t, TERSE_ERROR);
    fault->pc = terse_get(t, TERSE_ERROR_PC);
    return TERSE_OK;
}

/* A setting that must not change while the machine uses it. */
static enum terse_result set(const struct terse *t, uint32_t offset, uint32_t value)
{
    if ((terse_get(t, TERSE_STATUS) & TERSE_STATUS_BUSY) != 0u)
        return TERSE_BUSY;
    terse_put(t, offset, value);
    return TERSE_OK;
}

enum terse_result terse_set_exit_threshold(const struct terse *t, uint32_t threshold)
{
    if (!terse_is_ready(t) || threshold >> TERSE_EXIT_THRESHOLD_WIDTH != 0u)
        return TERSE_ARGUMENT;
    return set(t, TERSE_EXIT_THRESHOLD, threshold);
}

enum terse_result terse_set_watchdog(const struct terse *t, uint32_t cycles)
{
    if (!terse_is_ready(t))
        return TERSE_ARGUMENT;
    return set(t, TERSE_WATCHDOG, cycles);
}

enum terse_result terse_set_slot_limit(const struct terse *t, uint32_t slots)
{
    if (!terse_is_ready(t) || slots == 0u || slots > t->slots)
        return TERSE_ARGUMENT;
    return set(t, TERSE_SLOT_LIMIT, slots);
}

enum terse_result terse_counter(const struct terse *t, uint32_t low_offset, uint64_t *value)
{
    if (!terse_is_ready(t) || value == NULL || low_offset % 8u != 0u)
        return TERSE_ARGUMENT;
    if (low_offset < TERSE_CYCLES_LO || low_offset >= TERSE_COUNTERS_END)
        return TERSE_ARGUMENT;
    /* Both words of one moment, whoever else reads meanwhile: the high word has not moved. */
    uint32_t high = terse_get(t, low_offset + 4u);
    uint32_t low = terse_get(t, low_offset);
    uint32_t tries = 0;
    for (uint32_t again; (again = terse_get(t, low_offset + 4u)) != high; high = again) {
        if (++tries == COUNTER_TRIES)
            return TERSE_TIMEOUT; /* it moves once in 2^32 cycles, unless nobody is there */
        low = terse_get(t, low_offset);
    }
    *value = (uint64_t)high << 32 | low;
    return TERSE_OK;
}
