/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and result records: memory only, no register. */
#include "terse_access.h"

enum terse_result terse_describe(const struct terse *t, uint32_t *descriptor, uint32_t tokens, uint32_t count,
                                 uint32_t deadline, uint32_t tag)
{
    if (!terse_is_ready(t) || descriptor == NULL || !terse_is_aligned(tokens))
        return TERSE_ARGUMENT;
    if (count == 0u || count > t->positions)
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

/* A loop, since a freestanding C library need not have memcpy. */
static void copy(uint32_t *to, const uint32_t *from)
{
    for (uint32_t i = 0; i < TERSE_DESCRIPTOR_WORDS; i++)
        to[i] = from[i];
}

enum terse_result terse_order_by_deadline(uint32_t *queue, uint32_t count)
{
    uint32_t moving[TERSE_DESCRIPTOR_WORDS];

    if (queue == NULL)
        return TERSE_ARGUMENT;
    for (uint32_t next = 1; next < count; next++) { /* insertion: stable, and quick where little is out of order */
        uint32_t *place = queue + TERSE_DESCRIPTOR_WORDS * (size_t)next;
        copy(moving, place);
        while (place != queue && urgency(place - TERSE_DESCRIPTOR_WORDS) > urgency(moving)) {
            copy(place, place - TERSE_DESCRIPTOR_WORDS);
            place -= TERSE_DESCRIPTOR_WORDS;
        }
        copy(place, moving);
    }
    return TERSE_OK;
}

/* What callers index arrays with lies inside them. */
static bool is_plausible(const struct terse *t, const struct terse_sentence *sentence)
{
    if (sentence->status != TERSE_ERROR_NONE)
        return sentence->status < TERSE_ERRORS;
    return sentence->class_index < TERSE_MAX_CLASSES && sentence->exit_layer >= 1u &&
           sentence->exit_layer <= t->layers && sentence->tokens >= 1u && sentence->tokens <= t->positions;
}

enum terse_result terse_read_sentence(const struct terse *t, const uint32_t *record, struct terse_sentence *sentence)
{
    if (!terse_is_ready(t) || record == NULL || sentence == NULL)
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
    return is_plausible(t, sentence) ? TERSE_OK : TERSE_RECORD;
}
