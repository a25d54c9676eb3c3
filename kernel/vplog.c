// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is known of a VP that has come to grief, into the log.
#include "corbel/vplog.h"

#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/status.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void vp_log(const struct vp *vp)
{
    static const char *const names[GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                 "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                 "r12", "r13", "r14", "r15"};

    hv_log("VP: partition %#lx index %u rip %016lx rflags %lx work %x suspend %x",
           (unsigned long)vp->partition->id, vp->index, (unsigned long)vp->rip,
           (unsigned long)vp->rflags, atomic_load(&vp->work), atomic_load(&vp->suspend));
    for (int i = 0; i < GPR_COUNT; i += 4)
        hv_log("  %s %016lx %s %016lx %s %016lx %s %016lx", names[i], (unsigned long)vp->gpr[i],
               names[i + 1], (unsigned long)vp->gpr[i + 1], names[i + 2],
               (unsigned long)vp->gpr[i + 2], names[i + 3], (unsigned long)vp->gpr[i + 3]);
}

void vp_log_system(struct vp *vp)
{
    static const struct {
        const char *name;
        uint32_t number;
    } registers[] = {
        {"cr0", HV_REGISTER_CR0},   {"cr2", HV_REGISTER_CR2},   {"cr3", HV_REGISTER_CR3},
        {"cr4", HV_REGISTER_CR4},   {"efer", HV_REGISTER_EFER}, {"cs", HV_REGISTER_CS},
        {"ss", HV_REGISTER_SS},     {"gs", HV_REGISTER_GS},     {"tr", HV_REGISTER_TR},
        {"gdtr", HV_REGISTER_GDTR}, {"idtr", HV_REGISTER_IDTR},
    };
    union hv_register_value value;

    for (uint32_t i = 0; i < COUNT(registers); i++)
        if (vcpu->get_register(vp, registers[i].number, &value) == HV_STATUS_SUCCESS)
            hv_log("  %s %016lx %016lx", registers[i].name, (unsigned long)value.reg128.low,
                   (unsigned long)value.reg128.high);
}

void lp_log_exits(const struct lp *lp)
{
    for (uint32_t i = LP_LAST_EXITS; i > 0; i--) {
        const struct lp_exit_record *r = &lp->last_exits[(lp->exit_cursor - i) % LP_LAST_EXITS];
        if (r->reason || r->rip)
            hv_log("  exit %#lx at %016lx", (unsigned long)r->reason, (unsigned long)r->rip);
    }
}
