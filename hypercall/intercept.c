// SPDX-License-Identifier: BSD-2-Clause-Patent
// HvCallInstallIntercept (tlfs-reference 1.9): what a parent wants to see of its child. Types that
// would not be honoured are refused.
#include "corbel/intercept.h"

#include "corbel/layout.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vpstart.h"
#include "hypercall/list.h"

#define READ_WRITE  (HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE)
#define PORTS       0x10000u
#define MAP_PORTS   0x8000u // ports that one page of the bitmap covers
#define CPUID_LEAFS (sizeof(((struct partition_intercepts *)0)->cpuid_leaf) / sizeof(uint32_t))

// ---- ports --------------------------------------------------------------------------------------

static bool have_map(struct partition *p, uint32_t half)
{
    uint8_t *page;

    if (p->intercepts.io[half])
        return true;
    page = pool_alloc(&p->pool);
    if (page) // VPs may be looking: the page is zeroed before they can see it
        __atomic_store_n(&p->intercepts.io[half], page, __ATOMIC_RELEASE);
    return page != NULL;
}

static uint16_t set_ports(struct partition *p, uint32_t first, uint32_t last, bool on)
{
    if (first > last)
        return HV_STATUS_INVALID_PARAMETER;
    if (on && (!have_map(p, first / MAP_PORTS) || !have_map(p, last / MAP_PORTS)))
        return HV_STATUS_INSUFFICIENT_MEMORY;
    for (uint32_t port = first; port <= last; port = (port | 7) + 1) {
        uint8_t *map = p->intercepts.io[port / MAP_PORTS];
        uint32_t mask = 0xffu << (port & 7);
        if (last - (port & ~7u) < 7)
            mask &= 0xffu >> (7 - (last & 7));
        if (on)
            map[port % MAP_PORTS / 8] |= (uint8_t)mask;
        else if (map)
            map[port % MAP_PORTS / 8] &= (uint8_t)~mask;
    }
    return HV_STATUS_SUCCESS;
}

static uint16_t install_port(struct partition *p, uint32_t access, uint64_t parameter)
{
    if (parameter >= PORTS)
        return HV_STATUS_INVALID_PARAMETER;
    return set_ports(p, (uint32_t)parameter, (uint32_t)parameter, access);
}

static uint16_t install_port_range(struct partition *p, uint32_t access, uint64_t parameter)
{
    if (parameter >> 32)
        return HV_STATUS_INVALID_PARAMETER;
    return set_ports(p, parameter & HV_INTERCEPT_IO_RANGE_FIRST_MASK,
                     (uint32_t)(parameter >> HV_INTERCEPT_IO_RANGE_LAST_SHIFT), access);
}

// ---- MSRs, CPUID, exceptions --------------------------------------------------------------------

static uint16_t install_msr(struct partition *p, uint32_t access, uint64_t parameter)
{
    (void)parameter;
    p->intercepts.msr_access = access;
    return HV_STATUS_SUCCESS;
}

static uint16_t install_cpuid(struct partition *p, uint32_t access, uint64_t parameter)
{
    struct partition_intercepts *in = &p->intercepts;
    uint32_t leaf = (uint32_t)parameter, i = 0;

    if (parameter >> 32 || !cpuid_in_table(leaf))
        return HV_STATUS_INVALID_PARAMETER;
    while (i < in->cpuid_count && in->cpuid_leaf[i] != leaf)
        i++;
    if (access && i == in->cpuid_count) {
        if (i == CPUID_LEAFS)
            return HV_STATUS_INSUFFICIENT_MEMORY;
        in->cpuid_leaf[in->cpuid_count++] = leaf;
    } else if (!access && i < in->cpuid_count) {
        in->cpuid_leaf[i] = in->cpuid_leaf[--in->cpuid_count];
    }
    cpuid_set_flags(p);
    return HV_STATUS_SUCCESS;
}

static uint16_t install_all_cpuid(struct partition *p, uint32_t access, uint64_t parameter)
{
    (void)parameter;
    p->intercepts.cpuid_all = access;
    cpuid_set_flags(p);
    return HV_STATUS_SUCCESS;
}

// Machine checks are the machine's. NMIs are not exceptions.
static uint16_t install_exception(struct partition *p, uint32_t access, uint64_t parameter)
{
    if (parameter > 31 || parameter == EXC_MC || parameter == EXC_NMI)
        return HV_STATUS_INVALID_PARAMETER;
    if (access)
        p->intercepts.exceptions |= 1u << parameter;
    else
        p->intercepts.exceptions &= ~(1u << parameter);
    return HV_STATUS_SUCCESS;
}

// Extended calls, which are the virtualization stack's (TLFS: Extended Hypercall Interface).
static uint16_t install_hypercall(struct partition *p, uint32_t access, uint64_t parameter)
{
    (void)parameter;
    p->intercepts.hypercall = access;
    return HV_STATUS_SUCCESS;
}

static uint16_t install_apic_eoi(struct partition *p, uint32_t access, uint64_t parameter)
{
    (void)parameter;
    p->intercepts.apic_eoi = access;
    return HV_STATUS_SUCCESS;
}

// ---- the table ----------------------------------------------------------------------------------

struct intercept_type {
    uint32_t required; // access bits, all or none; 0: any
    uint16_t (*install)(struct partition *p, uint32_t access, uint64_t parameter);
};

static const struct intercept_type types[] = {
    [HV_INTERCEPT_TYPE_X64_IO_PORT] = {READ_WRITE, install_port},
    [HV_INTERCEPT_TYPE_X64_MSR] = {0, install_msr},
    [HV_INTERCEPT_TYPE_X64_CPUID] = {HV_INTERCEPT_ACCESS_MASK_EXECUTE, install_cpuid},
    [HV_INTERCEPT_TYPE_EXCEPTION] = {HV_INTERCEPT_ACCESS_MASK_EXECUTE, install_exception},
    [HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID] = {HV_INTERCEPT_ACCESS_MASK_EXECUTE, install_all_cpuid},
    [HV_INTERCEPT_TYPE_HYPERCALL] = {HV_INTERCEPT_ACCESS_MASK_EXECUTE, install_hypercall},
    [HV_INTERCEPT_TYPE_X64_APIC_EOI] = {0, install_apic_eoi},
    [HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE] = {READ_WRITE, install_port_range},
};

// Makes VPs that exist follow a changed set of exceptions. Idempotent: if one cannot be stopped now
// the whole call comes again.
static uint16_t update_exceptions(struct partition *p)
{
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *vp = partition_vp(p, i);
        if (!vp)
            continue;
        if (!vp_stop(vp))
            return HV_STATUS_RETRY;
        vcpu->set_exception_intercepts(vp, vp_exception_intercepts(vp));
        vp_resume(vp);
    }
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_install_intercept(struct hypercall *call)
{
    const struct hv_input_install_intercept *in = call->input;
    const struct intercept_type *type;
    struct partition *p;
    uint16_t status;

    if (in->intercept_type >= sizeof(types) / sizeof(types[0]) ||
        !types[in->intercept_type].install || (in->access_type & ~HV_INTERCEPT_ACCESS_MASK_ALL))
        return HV_STATUS_INVALID_PARAMETER;
    type = &types[in->intercept_type];
    if (in->access_type && type->required && in->access_type != type->required)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    spin_lock(&p->lock);
    status = type->install(p, in->access_type, in->intercept_parameter);
    spin_unlock(&p->lock);
    if (status == HV_STATUS_SUCCESS && in->intercept_type == HV_INTERCEPT_TYPE_EXCEPTION)
        status = update_exceptions(p);
    partition_put(p);
    return status;
}
