// SPDX-License-Identifier: BSD-2-Clause-Patent
// Mapping a VM's RAM into its GPA space.
#include "root/vm.h"

#define RIGHTS (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)

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
