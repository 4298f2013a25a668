/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver of the Terse accelerator. C99, no allocation, no global state.
 *
 *     struct terse t;
 *     terse_init(&t, base);
 *     terse_load(&t, &memory, polls);           once per image
 *     terse_describe(queue, tokens, count, 0, tag);
 *     terse_run(&t, queue_address, 1, polls);   or terse_start, then the interrupt
 *     terse_sentence(&t, record, &sentence);
 *
 * Every wait ends after `polls` reads of STATUS. Addresses are the accelerator's bus addresses. Keeping caches
 * coherent is the caller's task: write back queue and tokens before start, invalidate results after the end.
 */
#ifndef TERSE_H
#define TERSE_H

#include <stdint.h>
#include "terse_regs.h"

#if defined(__GNUC__)
#define TERSE_CHECKED __attribute__((warn_unused_result))
#else
#define TERSE_CHECKED
#endif

#define TERSE_ALIGNMENT 32u

enum terse_result {
    TERSE_OK = 0,
    TERSE_ARGUMENT, /* a null pointer, or an address or size that breaks a rule */
    TERSE_IDENTITY, /* no Terse at this address, or one of another version */
    TERSE_BUSY,     /* loading or running */
    TERSE_TIMEOUT,  /* still busy after `polls` reads */
    TERSE_FAULT     /* stopped by an error: terse_fault says which; terse_reset to go on */
};

struct terse {
    volatile void *base;
    uint32_t result_words;
    uint32_t positions;
    uint32_t layers; /* of the hardware: what a result record has words for */
};

/* A window: first byte and size. Base is a multiple of 32. */
struct terse_window {
    uint32_t base;
    uint32_t size;
};

struct terse_memory {
    struct terse_window image;     /* size a multiple of 32 */
    struct terse_window embedding; /* on the embedding port; size a multiple of 32 */
    struct terse_window input;     /* queue and tokens */
    struct terse_window result;    /* 4 * result_words bytes for each sentence */
};

struct terse_fault {
    uint32_t code; /* enum terse_error */
    uint32_t pc;
};

/* One result record. The three pointers point into it. */
struct terse_sentence {
    uint32_t status; /* enum terse_error; the rest is valid when it is TERSE_ERROR_NONE */
    uint32_t tag;
    uint32_t class_index;
    uint32_t exit_layer; /* from 1 */
    uint32_t tokens;
    uint32_t cycles;
    uint32_t detail; /* index of the token that failed */
    uint32_t passes;
    uint32_t predicted_exit_layer;
    const uint32_t *logits;           /* TERSE_MAX_CLASSES words, two's complement */
    const uint32_t *entropy;          /* per layer, Q2.16 nats */
    const uint32_t *tokens_per_layer; /* per layer, TERSE_RECORD_TOKENS_PER_LAYER_ENTERING and _LIVE */
    const uint8_t *dropped_at;        /* per position: layer from 0, or TERSE_NEVER */
};

/* Check identity and version; reads only. */
TERSE_CHECKED enum terse_result terse_init(struct terse *t, volatile void *base);

/* Drain the buses, forget image, errors and counters. */
TERSE_CHECKED enum terse_result terse_reset(struct terse *t, uint32_t polls);

/* Set the windows and load the image. */
TERSE_CHECKED enum terse_result terse_load(struct terse *t, const struct terse_memory *memory, uint32_t polls);

/* Entropy below which a sentence stops, Q2.16 nats, instead of the image's. */
TERSE_CHECKED enum terse_result terse_set_exit_threshold(struct terse *t, uint32_t threshold);

/* Fill a queue descriptor (TERSE_DESCRIPTOR_WORDS words). Deadline in cycles of the highest operating point, 0 none. */
TERSE_CHECKED enum terse_result terse_describe(uint32_t *descriptor, uint32_t tokens, uint32_t count, uint32_t deadline,
                                               uint32_t tag);

/*
 * Deadline first: order the descriptors by deadline, those without one last, equal ones as they were. Sentences start
 * in the order of the queue; result i is that of descriptor i, its tag says whose.
 */
TERSE_CHECKED enum terse_result terse_order_by_deadline(uint32_t *queue, uint32_t count);

/* A token word. */
static inline uint32_t terse_token(uint32_t id, uint32_t segment)
{
    return TERSE_TOKEN_ID(id) | (segment != 0 ? TERSE_TOKEN_SEGMENT : 0u);
}

/* Start the queue at bus address `queue` of `count` sentences. */
TERSE_CHECKED enum terse_result terse_start(struct terse *t, uint32_t queue, uint32_t count);

/* Wait until it is no longer busy. */
TERSE_CHECKED enum terse_result terse_wait(struct terse *t, uint32_t polls);

/* Start and wait. */
TERSE_CHECKED enum terse_result terse_run(struct terse *t, uint32_t queue, uint32_t count, uint32_t polls);

/* Which causes (TERSE_IRQ_ENABLE_*) raise the interrupt. */
TERSE_CHECKED enum terse_result terse_enable_interrupts(struct terse *t, uint32_t causes);

/* In the handler: read the causes and clear those. */
TERSE_CHECKED enum terse_result terse_acknowledge(struct terse *t, uint32_t *causes);

/* The error that stopped the machine; code TERSE_ERROR_NONE when none did. */
TERSE_CHECKED enum terse_result terse_fault(struct terse *t, struct terse_fault *fault);

/* A 64-bit counter by the offset of its low word, for instance TERSE_CYCLES_LO. */
TERSE_CHECKED enum terse_result terse_counter(struct terse *t, uint32_t low_offset, uint64_t *value);

/* Read a result record (4-byte aligned). */
TERSE_CHECKED enum terse_result terse_sentence(const struct terse *t, const uint32_t *record,
                                               struct terse_sentence *sentence);

#endif
