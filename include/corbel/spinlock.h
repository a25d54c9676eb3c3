// SPDX-License-Identifier: BSD-2-Clause-Patent
// A test-and-test-and-set spinlock. Zeroed memory is an unlocked lock. Interrupts stay as they are:
// the hypervisor runs with them off. Works in host tests unchanged.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    _Atomic uint32_t locked;
};

static inline bool spin_trylock(struct spinlock *lock)
{
    return atomic_exchange_explicit(&lock->locked, 1, memory_order_acquire) == 0;
}

static inline void spin_lock(struct spinlock *lock)
{
    while (!spin_trylock(lock))
        while (atomic_load_explicit(&lock->locked, memory_order_relaxed))
            __builtin_ia32_pause();
}

static inline void spin_unlock(struct spinlock *lock)
{
    atomic_store_explicit(&lock->locked, 0, memory_order_release);
}
