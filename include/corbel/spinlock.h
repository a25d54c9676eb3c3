// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ticket spinlock: first come, first served, so no LP starves. Hypervisor code runs to completion
// with interrupts off, so a holder is never descheduled; what an NMI handler touches must not need
// a lock.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    _Atomic uint32_t next;  // ticket of the next who comes
    _Atomic uint32_t owner; // ticket of the holder; equal to next: free
};

static inline void spin_init(struct spinlock *lock)
{
    atomic_init(&lock->next, 0);
    atomic_init(&lock->owner, 0);
}

static inline void spin_lock(struct spinlock *lock)
{
    uint32_t ticket = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);

    while (atomic_load_explicit(&lock->owner, memory_order_acquire) != ticket)
        __builtin_ia32_pause();
}

// Only the holder writes `owner`, so a plain increment is enough.
static inline void spin_unlock(struct spinlock *lock)
{
    uint32_t ticket = atomic_load_explicit(&lock->owner, memory_order_relaxed);

    atomic_store_explicit(&lock->owner, ticket + 1, memory_order_release);
}

// Takes the lock if nobody holds it or waits for it. `owner` never passes `next`: if `next` still
// has the value that `owner` had, the lock is free and the ticket is ours.
static inline bool spin_trylock(struct spinlock *lock)
{
    uint32_t ticket = atomic_load_explicit(&lock->owner, memory_order_acquire);

    return atomic_compare_exchange_strong_explicit(&lock->next, &ticket, ticket + 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

// For assertions only: the answer is stale at once unless the caller is the holder.
static inline bool spin_is_locked(struct spinlock *lock)
{
    return atomic_load_explicit(&lock->owner, memory_order_relaxed) !=
           atomic_load_explicit(&lock->next, memory_order_relaxed);
}
