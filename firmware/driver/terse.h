/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Driver of the Terse accelerator. C99 and C++, freestanding, no allocation, no global state.
 *
 *     struct terse t;
 *     terse_init(&t, base);
 *     terse_load(&t, &memory, polls);                         once per image
 *     terse_describe(&t, queue, tokens, count, 0, tag);
 *     terse_run(&t, queue_address, 1, polls);                 or terse_start, then the interrupt
 *     terse_read_sentence(&t, record, &sentence);
 *
 * Every wait ends after `polls` reads of STATUS, with terse_mmio_delay between them. Addresses are the accelerator's
 * bus addresses. terse_mmio.h says what is due for caches. `struct terse` does not change after terse_init: any number
 * of contexts may share it; those that give commands must take turns.
 *
 * An interrupt handler:
 *
 *     uint32_t causes;
 *     if (terse_irq_get_state(&t, &causes) == TERSE_OK && terse_irq_acknowledge_state(&t, causes) == TERSE_OK)
 *         finished |= causes;                                 a volatile that the main loop looks at
 */
#ifndef TERSE_H
#define TERSE_H

#include <stdbool.h>
#include <stdint.h>
#include "terse_regs.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
/** The compiler warns when a result is not looked at. */
#define TERSE_CHECKED __attribute__((warn_unused_result))
#else
#define TERSE_CHECKED
#endif

/** Windows, queue and token addresses are multiples of this. */
#define TERSE_ALIGNMENT 32u

/** How a call ended. */
enum terse_result {
    TERSE_OK = 0,
    TERSE_ARGUMENT, /**< A null pointer, or an address, size or number that breaks a rule. */
    TERSE_IDENTITY, /**< No Terse at this address, one of another version, or sizes that do not fit each other. */
    TERSE_BUSY,     /**< Loading or running. */
    TERSE_TIMEOUT,  /**< Still busy after `polls` reads; a counter that does not stand still. */
    TERSE_FAULT,    /**< Stopped by an error: terse_read_fault says which; terse_reset to go on. */
    TERSE_RECORD,   /**< Not a record that this machine writes. */
    TERSE_RESULTS   /**< Not as many results as sentences: a bus that lies, or a second driver. */
};

/** A found accelerator; terse_init fills it, nothing changes it afterwards. */
struct terse {
    volatile void *base;
    uint32_t result_words; /**< Of a result record. */
    uint32_t positions;    /**< Tokens of the longest sentence. */
    uint32_t layers;       /**< Of the hardware: what a result record has words for. */
    uint32_t slots;        /**< Sentences resident at once. */
};

/** A window of memory: first byte, a multiple of TERSE_ALIGNMENT, and size in bytes. */
struct terse_window {
    uint32_t base;
    uint32_t size;
};

/** Where everything lies; image, input and result share no byte. */
struct terse_memory {
    struct terse_window image;     /**< Size a multiple of TERSE_ALIGNMENT. */
    struct terse_window embedding; /**< On the embedding port; size a multiple of TERSE_ALIGNMENT. */
    struct terse_window input;     /**< Queue and tokens. */
    struct terse_window result;    /**< 4 * result_words bytes for each sentence. */
};

/** The error that stopped the machine. */
struct terse_fault {
    uint32_t code; /**< enum terse_error */
    uint32_t pc;   /**< Number of the instruction. */
};

/** One result record. The four pointers point into it. */
struct terse_sentence {
    uint32_t status; /**< enum terse_error; the rest is valid when it is TERSE_ERROR_NONE. */
    uint32_t tag;
    uint32_t class_index;
    uint32_t exit_layer; /**< From 1. */
    uint32_t tokens;
    uint32_t cycles;
    uint32_t detail; /**< Index of the token that failed. */
    uint32_t passes;
    uint32_t predicted_exit_layer;
    const uint32_t *logits;           /**< TERSE_MAX_CLASSES words, two's complement. */
    const uint32_t *entropy;          /**< Per layer, Q2.16 nats. */
    const uint32_t *tokens_per_layer; /**< Per layer, TERSE_RECORD_TOKENS_PER_LAYER_ENTERING and _LIVE. */
    const uint8_t *dropped_at;        /**< Per position: layer from 0, or TERSE_NEVER. */
};

/** @name Life cycle
 * @{ */

/** Check identity, version and sizes; reads only. */
TERSE_CHECKED enum terse_result terse_init(struct terse *t, volatile void *base);

/** Drain the buses, forget image, errors and counters. */
TERSE_CHECKED enum terse_result terse_reset(const struct terse *t, uint32_t polls);

/** Set the windows and load the image. TERSE_FAULT when it is refused, or an earlier error was not reset. */
TERSE_CHECKED enum terse_result terse_load(const struct terse *t, const struct terse_memory *memory, uint32_t polls);

/** Start the queue at bus address `queue` of `count` sentences. TERSE_FAULT when an earlier error was not reset. */
TERSE_CHECKED enum terse_result terse_start(const struct terse *t, uint32_t queue, uint32_t count);

/** Wait until it is no longer busy. */
TERSE_CHECKED enum terse_result terse_wait(const struct terse *t, uint32_t polls);

/** Start and wait. */
TERSE_CHECKED enum terse_result terse_run(const struct terse *t, uint32_t queue, uint32_t count, uint32_t polls);

/** @}
 * @name State and settings
 * @{ */

/** Read STATUS: bits TERSE_STATUS_BUSY, _LOADED, _ERROR and _DONE. */
TERSE_CHECKED enum terse_result terse_status(const struct terse *t, uint32_t *status);

/** The error that stopped the machine; code TERSE_ERROR_NONE when none did. */
TERSE_CHECKED enum terse_result terse_read_fault(const struct terse *t, struct terse_fault *fault);

/** Results written since the queue started; the first of them are valid whatever happens later. */
TERSE_CHECKED enum terse_result terse_finished(const struct terse *t, uint32_t *count);

/** Which optional units are present: bits TERSE_UNITS_SPAN, _DROP, _EXIT, _DVFS, _COUNTERS, _EMBEDDING_CHECK. */
TERSE_CHECKED enum terse_result terse_units(const struct terse *t, uint32_t *units);

/** Entropy below which a sentence stops, Q2.16 nats, instead of the image's; the next load sets that again. */
TERSE_CHECKED enum terse_result terse_set_exit_threshold(const struct terse *t, uint32_t threshold);

/** Cycles without progress after which the machine stops with TERSE_ERROR_WATCHDOG; 0 never. */
TERSE_CHECKED enum terse_result terse_set_watchdog(const struct terse *t, uint32_t cycles);

/** Sentences resident at once, from 1 to `t->slots`: 1 gives each sentence the least latency. */
TERSE_CHECKED enum terse_result terse_set_slot_limit(const struct terse *t, uint32_t slots);

/** A 64-bit counter by the offset of its low word, for instance TERSE_CYCLES_LO; 0 without the unit. */
TERSE_CHECKED enum terse_result terse_counter(const struct terse *t, uint32_t low_offset, uint64_t *value);

/** @}
 * @name Interrupts
 * One line, level high while a cause is set that is enabled; cleared by writing, not by an edge.
 * @{ */

/** Causes, as bits of IRQ_ENABLE and IRQ_CAUSE. */
enum terse_irq {
    TERSE_IRQ_DONE = 0, /**< The queue is finished. */
    TERSE_IRQ_ERROR,    /**< The machine stopped with an error. */
    TERSE_IRQ_LOADED    /**< An image is loaded. */
};

/** All causes that are pending, enabled or not: bit i is enum terse_irq i. */
TERSE_CHECKED enum terse_result terse_irq_get_state(const struct terse *t, uint32_t *causes);

/** Whether this cause is pending. */
TERSE_CHECKED enum terse_result terse_irq_is_pending(const struct terse *t, enum terse_irq irq, bool *is_pending);

/** Clear this cause. */
TERSE_CHECKED enum terse_result terse_irq_acknowledge(const struct terse *t, enum terse_irq irq);

/** Clear the causes of a state that was read; what came since stays. */
TERSE_CHECKED enum terse_result terse_irq_acknowledge_state(const struct terse *t, uint32_t causes);

/** Whether this cause raises the line. */
TERSE_CHECKED enum terse_result terse_irq_get_enabled(const struct terse *t, enum terse_irq irq, bool *enabled);

/** Let this cause raise the line, or not. */
TERSE_CHECKED enum terse_result terse_irq_set_enabled(const struct terse *t, enum terse_irq irq, bool enabled);

/** Let no cause raise the line; which ones did goes to `snapshot`, unless that is null. */
TERSE_CHECKED enum terse_result terse_irq_disable_all(const struct terse *t, uint32_t *snapshot);

/** Let those causes raise the line that did when the snapshot was taken. */
TERSE_CHECKED enum terse_result terse_irq_restore_all(const struct terse *t, uint32_t snapshot);

/** @}
 * @name Queue and records, in memory
 * @{ */

/** A token word. */
static inline uint32_t terse_token(uint32_t id, uint32_t segment)
{
    return TERSE_TOKEN_ID(id) | (segment != 0u ? TERSE_TOKEN_SEGMENT : 0u);
}

/**
 * Fill a queue descriptor (TERSE_DESCRIPTOR_WORDS words).
 *
 * @param tokens bus address of the first token word
 * @param count tokens, from 1 to `t->positions`
 * @param deadline cycles of the highest operating point from the start of the queue, 0 none
 * @param tag comes back in the record
 */
TERSE_CHECKED enum terse_result terse_describe(const struct terse *t, uint32_t *descriptor, uint32_t tokens,
                                               uint32_t count, uint32_t deadline, uint32_t tag);

/**
 * Deadline first: order the descriptors by deadline, those without one last, equal ones as they were.
 *
 * Sentences start in the order of the queue; result i is that of descriptor i, its tag says whose.
 */
TERSE_CHECKED enum terse_result terse_order_by_deadline(uint32_t *queue, uint32_t count);

/**
 * Read a result record.
 *
 * TERSE_RECORD when class, exit layer or tokens are none that this machine has: memory that was never written, or
 * damaged. A sentence that failed alone is TERSE_OK, with its error in `status`.
 */
TERSE_CHECKED enum terse_result terse_read_sentence(const struct terse *t, const uint32_t *record,
                                                    struct terse_sentence *sentence);

/** @} */

#ifdef __cplusplus
}
#endif

#endif
