// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is known of a VP that has come to grief, into the log.
#include "corbel/vplog.h"

#include "corbel/log.h"
#include "corbel/lograte.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/spinlock.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/status.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define END_LINES    (LP_LAST_EXITS + 17u) // of vp_log_end

// By slot of the partition table: a guest that its parent makes anew gets the same one.
static struct log_rate rates[PARTITION_MAX];
static struct spinlock rates_lock;

bool vp_may_log(const struct vp *vp, uint32_t lines)
{
    const uint64_t id = vp->partition->id;
    uint32_t left_out = 0;
    bool may;

    spin_lock(&rates_lock);
    may = log_rate_admit(&rates[id % PARTITION_MAX], rdtsc(), tsc_hz, lines, &left_out);
    spin_unlock(&rates_lock);
    if (left_out)
        hv_log("partition %#lx: %u reports left out", (unsigned long)id, left_out);
    return may;
}

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

void vp_log_end(struct vp *vp, const char *what)
{
    if (!vp_may_log(vp, END_LINES))
        return;
    hv_log("partition %#lx VP %u: %s at %#lx", (unsigned long)vp->partition->id, vp->index, what,
           (unsigned long)vp->rip);
    vp_log(vp);
    vp_log_system(vp);
    lp_log_exits(this_lp());
}
