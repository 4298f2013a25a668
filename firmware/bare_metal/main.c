/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Sentences through the machine, one line each on the serial line: class, exit layer, cycles, tokens of the sentence,
 * tokens that were dropped. A line "error", the step and the code where something goes wrong; at the end "done".
 */
#include "sentences.h"
#include "terse.h"

/* What the CPU sees where: hw/board/cpu.py. The machine's bus sees its memory from 0 on. */
#define REGISTERS 0x10000000u
#define LINE ((volatile uint32_t *)0x20000000u)
#define MEMORY 0x40000000u
#define FLASH 0x80000000u

/* What lies in flash and memory: firmware/store.py. The board has copied header and image before the program runs. */
#define STORE_AT 0x400000u
#define STORE_MAGIC 0x4b535254u
#define STORE_IMAGE 32u
#define EMBEDDING 0x600000u

/* Behind the image, each at a multiple of the alignment: the queue, the tokens, the results. */
#define ALIGNED(bytes) (((bytes) + TERSE_ALIGNMENT - 1u) / TERSE_ALIGNMENT * TERSE_ALIGNMENT)
#define QUEUE_BYTES ALIGNED(4u * SENTENCES * TERSE_DESCRIPTOR_WORDS)
#define POLLS 10000000u

static volatile uint32_t *word_at(uint32_t address)
{
    return (volatile uint32_t *)(MEMORY + address);
}

/* Whether the memory begins with the flash's header. */
static int copied(void)
{
    const volatile uint32_t *header = (const volatile uint32_t *)(FLASH + STORE_AT);
    for (uint32_t i = 0; i < STORE_IMAGE / 4u; i++)
        if (word_at(0)[i] != header[i])
            return 0;
    return 1;
}

static void put_text(const char *text)
{
    while (*text)
        *LINE = (uint32_t)(unsigned char)*text++;
}

static void put_number(uint32_t value)
{
    char digits[10];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + value % 10u);
    while (value /= 10u);
    while (count)
        *LINE = (uint32_t)(unsigned char)digits[--count];
    *LINE = ' ';
}

static int failed(const char *step, uint32_t code)
{
    put_text("error ");
    put_text(step);
    put_text(" ");
    put_number(code);
    put_text("\n");
    return 1;
}

static int ask(const struct terse *t, uint32_t queue)
{
    enum terse_result result;
    uint32_t token = 0;
    for (uint32_t i = 0; i < SENTENCES; i++) {
        uint32_t at = queue + QUEUE_BYTES + i * ALIGNED(4u * t->positions);
        for (uint32_t j = 0; j < lengths[i]; j++, token++)
            word_at(at)[j] = terse_token(ids[token], segments[token]);
        uint32_t *descriptor = (uint32_t *)(MEMORY + queue) + i * TERSE_DESCRIPTOR_WORDS;
        result = terse_describe(t, descriptor, at, lengths[i], 0, i);
        if (result != TERSE_OK)
            return failed("describe", result);
    }
    result = terse_run(t, queue, SENTENCES, POLLS);
    return result == TERSE_OK ? 0 : failed("run", result);
}

static int tell(const struct terse *t, uint32_t results, uint32_t number)
{
    const uint32_t *record = (const uint32_t *)(MEMORY + results) + number * t->result_words;
    struct terse_sentence sentence;
    uint32_t dropped = 0;
    enum terse_result result = terse_read_sentence(t, record, &sentence);
    if (result != TERSE_OK)
        return failed("read", result);
    if (sentence.status != TERSE_ERROR_NONE)
        return failed("sentence", sentence.status);
    for (uint32_t i = 0; i < sentence.tokens; i++)
        dropped += sentence.dropped_at[i] != TERSE_NEVER;
    put_number(sentence.tag);
    put_number(sentence.class_index);
    put_number(sentence.exit_layer);
    put_number(sentence.cycles);
    put_number(sentence.tokens);
    put_number(dropped);
    put_text("\n");
    return 0;
}

int main(void)
{
    struct terse t;
    struct terse_memory memory;
    enum terse_result result = terse_init(&t, (volatile void *)REGISTERS);
    if (result != TERSE_OK)
        return failed("init", result);
    if (word_at(0)[0] != STORE_MAGIC || !copied())
        return failed("store", word_at(0)[0]);
    memory.image.base = STORE_IMAGE;
    memory.image.size = word_at(0)[1];
    memory.embedding.base = EMBEDDING;
    memory.embedding.size = word_at(0)[2];
    memory.input.base = STORE_IMAGE + ALIGNED(memory.image.size);
    memory.input.size = QUEUE_BYTES + SENTENCES * ALIGNED(4u * t.positions);
    memory.result.base = memory.input.base + memory.input.size;
    memory.result.size = ALIGNED(4u * SENTENCES * t.result_words);
    result = terse_load(&t, &memory, POLLS);
    if (result != TERSE_OK)
        return failed("load", result);
    if (ask(&t, memory.input.base))
        return 1;
    for (uint32_t i = 0; i < SENTENCES; i++)
        if (tell(&t, memory.result.base, i))
            return 1;
    put_text("done\n");
    return 0;
}
