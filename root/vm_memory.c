// SPDX-License-Identifier: BSD-2-Clause-Patent
// A VM's RAM: from the firmware, and into its GPA space.
#include "root/pages.h"
#include "root/vm.h"

#define RIGHTS (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)

void vm_free(struct vm *vm, uint32_t keep)
{
    struct guest_memory *memory = &vm->memory;

    while (memory->count > keep) {
        const struct load_ram *piece = &memory->piece[memory->count - 1];
        for (uint64_t at = 0; at < piece->size; at += HV_LARGE_PAGE_SIZE) {
            uint8_t *host = guest_block(memory, piece->gpa + at);
            if (host) {
                pages_large_free(host, HV_LARGE_PAGE_SIZE);
            }
        }
        guest_memory_drop_last(memory);
    }
}

uint64_t vm_allocate(struct vm *vm)
{
    const uint64_t large = HV_LARGE_PAGE_SIZE;
    uint64_t left = vm->conf.memory << 20, want = left;

    while (left) {
        const uint64_t rounded = (want + large - 1) / large * large;
        void *host = pages_large(rounded);
        const uint64_t size = rounded < left ? rounded : left;
        if (host && !guest_memory_add(&vm->memory, host, size)) {
            pages_large_free(host, rounded);
            break;
        }
        if (host) {
            left -= size;
        } else if (rounded == large) {
            break;
        }
        want = host ? left : rounded / 2;
    }
    if (left) {
        vm_free(vm, 0);
    }
    return left;
}

// The hypervisor may see less than a large page where the root sees one: then in small ones.
uint16_t vm_map_run(struct vm *vm, const struct guest_run *run)
{
    uint16_t status = call_map(&vm->account, run->gpa_page, run->own_page, run->count,
                               RIGHTS | (run->large ? HV_MAP_GPA_LARGE_PAGE : 0));

    if (run->large && status == HV_STATUS_OPERATION_DENIED) {
        status = call_map(&vm->account, run->gpa_page, run->own_page,
                          run->count * (HV_LARGE_PAGE_SIZE / HV_PAGE_SIZE), RIGHTS);
    }
    return status;
}

uint16_t vm_map_all(struct vm *vm)
{
    uint16_t status = HV_STATUS_SUCCESS;

    for (uint32_t i = 0; i < vm->memory.count && status == HV_STATUS_SUCCESS; i++) {
        struct guest_run run[2];
        guest_piece_runs(&vm->memory.piece[i], &run[0], &run[1]);
        for (unsigned j = 0; j < 2 && status == HV_STATUS_SUCCESS; j++) {
            status = vm_map_run(vm, &run[j]);
        }
    }
    return status;
}
