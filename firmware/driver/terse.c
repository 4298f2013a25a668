/* SPDX-License-Identifier: Apache-2.0 */
#include "terse.h"
#include <stddef.h>
#include <string.h>
#include <terse_mmio.h>

static uint32_t get(const struct terse *t, uint32_t offset)
{
    return terse_mmio_read(t->base, offset);
}

static void put(const struct terse *t, uint32_t offset, uint32_t value)
{
    terse_mmio_write(t->base, offset, value);
}

static int is_ready(const struct terse *t)
{
    return t != NULL && t->base != NULL;
}

static int is_busy(const struct terse *t)
{
    return (get(t, TERSE_STATUS) & TERSE_STATUS_BUSY) != 0;
}

static int is_aligned(uint32_t value)
{
    return value % TERSE_ALIGNMENT == 0;
}

/* Not empty, aligned, and inside the address space. */
static int is_window(const struct terse_window *window)
{
    return window->size != 0 && is_aligned(window->base) && window->size - 1 <= UINT32_MAX - window->base;
}

static int is_inside(uint32_t base, uint32_t size, uint32_t window_base, uint32_t window_size)
{
    return base >= window_base && size <= window_size && base - window_base <= window_size - size;
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
    t->result_words = get(t, TERSE_RESULT_WORDS);
    t->positions = TERSE_ROWS_POSITIONS(get(t, TERSE_ROWS));
    t->layers = TERSE_FORMAT_LAYERS(get(t, TERSE_FORMAT));
    return TERSE_OK;
}

enum terse_result terse_wait(struct terse *t, uint32_t polls)
{
    if (!is_ready(t))
        return TERSE_ARGUMENT;
    for (uint32_t i = 0; i < polls; i++) {
        uint32_t status = get(t, TERSE_STATUS);
        if ((status & TERSE_STATUS_BUSY) == 0)
            return (status & TERSE_STATUS_ERROR) != 0 ? TERSE_FAULT : TERSE_OK;
    }
    return TERSE_TIMEOUT;
}

enum terse_result terse_reset(struct terse *t, uint32_t polls)
{
    if (!is_ready(t))
        return TERSE_ARGUMENT;
    put(t, TERSE_CONTROL, TERSE_CONTROL_RESET);
    return terse_wait(t, polls);
}

static void put_window(struct terse *t, uint32_t base_offset, const struct terse_window *window)
{
    put(t, base_offset, window->base);
    put(t, base_offset + 4, window->size);
}

enum terse_result terse_load(struct terse *t, const struct terse_memory *memory, uint32_t polls)
{
    if (!is_ready(t) || memory == NULL)
        return TERSE_ARGUMENT;
    if (!is_window(&memory->image) || !is_window(&memory->embedding) || !is_window(&memory->input) ||
        !is_window(&memory->result))
        return TERSE_ARGUMENT;
    if (!is_aligned(memory->image.size) || !is_aligned(memory->embedding.size))
        return TERSE_ARGUMENT;
    if (is_busy(t))
        return TERSE_BUSY;
    put_window(t, TERSE_IMAGE_BASE, &memory->image);
    put_window(t, TERSE_EMBEDDING_BASE, &memory->embedding);
    put_window(t, TERSE_INPUT_BASE, &memory->input);
    put_window(t, TERSE_RESULT_BASE, &memory->result);
    put(t, TERSE_CONTROL, TERSE_CONTROL_LOAD);
    return terse_wait(t, polls);
}

enum terse_result terse_set_exit_threshold(struct terse *t, uint32_t threshold)
{
    if (!is_ready(t) || threshold >> 18 != 0)
        return TERSE_ARGUMENT;
    if (is_busy(t))
        return TERSE_BUSY;
    put(t, TERSE_EXIT_THRESHOLD, threshold);
    return TERSE_OK;
}

enum terse_result terse_describe(uint32_t *descriptor, uint32_t tokens, uint32_t count, uint32_t deadline, uint32_t tag)
{
    if (descriptor == NULL || !is_aligned(tokens))
        return TERSE_ARGUMENT;
    descriptor[TERSE_DESCRIPTOR_ADDRESS] = tokens;
    descriptor[TERSE_DESCRIPTOR_COUNT] = count;
    descriptor[TERSE_DESCRIPTOR_DEADLINE] = deadline;
    descriptor[TERSE_DESCRIPTOR_TAG] = tag;
    return TERSE_OK;
}

/* No deadline is the latest of all. */
static uint32_t urgency(const uint32_t *descriptor)
{
    return descriptor[TERSE_DESCRIPTOR_DEADLINE] - 1u;
}

enum terse_result terse_order_by_deadline(uint32_t *queue, uint32_t count)
{
    uint32_t moving[TERSE_DESCRIPTOR_WORDS];

    if (queue == NULL)
        return TERSE_ARGUMENT;
    for (uint32_t next = 1; next < count; next++) { /* insertion: stable, and quick where little is out of order */
        uint32_t *place = queue + TERSE_DESCRIPTOR_WORDS * (size_t)next;
        memcpy(moving, place, sizeof moving);
        while (place != queue && urgency(place - TERSE_DESCRIPTOR_WORDS) > urgency(moving)) {
            memcpy(place, place - TERSE_DESCRIPTOR_WORDS, sizeof moving);
            place -= TERSE_DESCRIPTOR_WORDS;
        }
        memcpy(place, moving, sizeof moving);
    }
    return TERSE_OK;
}

enum terse_result terse_start(struct terse *t, uint32_t queue, uint32_t count)
{
    if (!is_ready(t) || !is_aligned(queue) || count == 0 || count > UINT16_MAX)
        return TERSE_ARGUMENT;
    if (!is_inside(queue, 4 * TERSE_DESCRIPTOR_WORDS * count, get(t, TERSE_INPUT_BASE), get(t, TERSE_INPUT_SIZE)))
        return TERSE_ARGUMENT;
    if (count > get(t, TERSE_RESULT_SIZE) / (4 * t->result_words))
        return TERSE_ARGUMENT;
    if (is_busy(t))
        return TERSE_BUSY;
    put(t, TERSE_QUEUE_BASE, queue);
    put(t, TERSE_QUEUE_COUNT, count);
    put(t, TERSE_CONTROL, TERSE_CONTROL_START);
    return TERSE_OK;
}

enum terse_result terse_run(struct terse *t, uint32_t queue, uint32_t count, uint32_t polls)
{
    enum terse_result result = terse_start(t, queue, count);
    return result == TERSE_OK ? terse_wait(t, polls) : result;
}

enum terse_result terse_enable_interrupts(struct terse *t, uint32_t causes)
{
    if (!is_ready(t))
        return TERSE_ARGUMENT;
    put(t, TERSE_IRQ_ENABLE, causes);
    return TERSE_OK;
}

enum terse_result terse_acknowledge(struct terse *t, uint32_t *causes)
{
    if (!is_ready(t) || causes == NULL)
        return TERSE_ARGUMENT;
    *causes = get(t, TERSE_IRQ_CAUSE);
    put(t, TERSE_IRQ_CAUSE, *causes);
    return TERSE_OK;
}

enum terse_result terse_fault(struct terse *t, struct terse_fault *fault)
{
    if (!is_ready(t) || fault == NULL)
        return TERSE_ARGUMENT;
    fault->code = get(t, TERSE_ERROR);
    fault->pc = get(t, TERSE_ERROR_PC);
    return TERSE_OK;
}

enum terse_result terse_counter(struct terse *t, uint32_t low_offset, uint64_t *value)
{
    if (!is_ready(t) || value == NULL || low_offset % 8 != 0)
        return TERSE_ARGUMENT;
    if (low_offset < TERSE_CYCLES_LO || low_offset >= TERSE_COUNTERS_END)
        return TERSE_ARGUMENT;
    uint32_t low = get(t, low_offset); /* latches the high word */
    *value = (uint64_t)get(t, low_offset + 4) << 32 | low;
    return TERSE_OK;
}

enum terse_result terse_sentence(const struct terse *t, const uint32_t *record, struct terse_sentence *sentence)
{
    if (!is_ready(t) || record == NULL || sentence == NULL)
        return TERSE_ARGUMENT;
    uint32_t verdict = record[TERSE_RECORD_VERDICT];
    sentence->status = record[TERSE_RECORD_STATUS];
    sentence->tag = record[TERSE_RECORD_TAG];
    sentence->class_index = TERSE_RECORD_VERDICT_PREDICTED_CLASS(verdict);
    sentence->exit_layer = TERSE_RECORD_VERDICT_EXIT_LAYER(verdict);
    sentence->tokens = TERSE_RECORD_VERDICT_TOKENS(verdict);
    sentence->cycles = record[TERSE_RECORD_CYCLES];
    sentence->detail = record[TERSE_RECORD_DETAIL];
    sentence->passes = record[TERSE_RECORD_PASSES];
    sentence->predicted_exit_layer = record[TERSE_RECORD_PREDICTED_EXIT];
    sentence->logits = record + TERSE_RECORD_LOGITS;
    sentence->entropy = record + TERSE_RECORD_ENTROPIES;
    sentence->tokens_per_layer = record + TERSE_RECORD_TOKENS_PER_LAYER(t->layers);
    sentence->dropped_at = (const uint8_t *)(record + TERSE_RECORD_DROPPED_AT_LAYER(t->layers));
    return TERSE_OK;
}
