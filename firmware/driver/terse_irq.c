/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts: causes, and which of them raise the line. */
#include "terse_access.h"

#define ALL (1u << TERSE_IRQ_DONE | 1u << TERSE_IRQ_ERROR | 1u << TERSE_IRQ_LOADED)

static bool is_irq(enum terse_irq irq)
{
    return (uint32_t)irq <= (uint32_t)TERSE_IRQ_LOADED;
}

enum terse_result terse_irq_get_state(const struct terse *t, uint32_t *causes)
{
    if (!terse_is_ready(t) || causes == NULL)
        return TERSE_ARGUMENT;
    *causes = terse_get(t, TERSE_IRQ_CAUSE);
    return TERSE_OK;
}

enum terse_result terse_irq_is_pending(const struct terse *t, enum terse_irq irq, bool *is_pending)
{
    if (!terse_is_ready(t) || !is_irq(irq) || is_pending == NULL)
        return TERSE_ARGUMENT;
    *is_pending = (terse_get(t, TERSE_IRQ_CAUSE) >> irq & 1u) != 0u;
    return TERSE_OK;
}

enum terse_result terse_irq_acknowledge(const struct terse *t, enum terse_irq irq)
{
    if (!is_irq(irq))
        return TERSE_ARGUMENT;
    return terse_irq_acknowledge_state(t, 1u << irq);
}

enum terse_result terse_irq_acknowledge_state(const struct terse *t, uint32_t causes)
{
    if (!terse_is_ready(t) || (causes & ~ALL) != 0u)
        return TERSE_ARGUMENT;
    terse_put(t, TERSE_IRQ_CAUSE, causes);
    terse_mmio_barrier(); /* the results that a cause stands for are read after this */
    return TERSE_OK;
}

enum terse_result terse_irq_get_enabled(const struct terse *t, enum terse_irq irq, bool *enabled)
{
    if (!terse_is_ready(t) || !is_irq(irq) || enabled == NULL)
        return TERSE_ARGUMENT;
    *enabled = (terse_get(t, TERSE_IRQ_ENABLE) >> irq & 1u) != 0u;
    return TERSE_OK;
}

enum terse_result terse_irq_set_enabled(const struct terse *t, enum terse_irq irq, bool enabled)
{
    if (!terse_is_ready(t) || !is_irq(irq))
        return TERSE_ARGUMENT;
    uint32_t others = terse_get(t, TERSE_IRQ_ENABLE) & ~(1u << irq);
    terse_put(t, TERSE_IRQ_ENABLE, others | (enabled ? 1u << irq : 0u));
    return TERSE_OK;
}

enum terse_result terse_irq_disable_all(const struct terse *t, uint32_t *snapshot)
{
    if (!terse_is_ready(t))
        return TERSE_ARGUMENT;
    if (snapshot != NULL)
        *snapshot = terse_get(t, TERSE_IRQ_ENABLE);
    terse_put(t, TERSE_IRQ_ENABLE, 0u);
    return TERSE_OK;
}

enum terse_result terse_irq_restore_all(const struct terse *t, uint32_t snapshot)
{
    if (!terse_is_ready(t) || (snapshot & ~ALL) != 0u)
        return TERSE_ARGUMENT;
    terse_put(t, TERSE_IRQ_ENABLE, snapshot);
    return TERSE_OK;
}
