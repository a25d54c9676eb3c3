// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partition life cycle and properties (tlfs-reference 1.6).
#include "corbel/partition.h"

#include "corbel/controls.h"
#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/log.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

// What a partition may be created with: the rest asks for what is not there.
#define CREATION_FLAGS                                                                             \
    (HV_PARTITION_CREATION_FLAG_SMT_ENABLED_GUEST |                                                \
     HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED |                                          \
     HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED | HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE)

uint16_t hypercall_create_partition(struct hypercall *call)
{
    const struct hv_input_create_partition *in = call->input;
    struct hv_output_create_partition *out = call->output;
    const uint64_t disabled[PROCFEATURE_BANKS] = {in->disabled_processor_features[0],
                                                  in->disabled_processor_features[1],
                                                  in->disabled_xsave_features};
    struct partition *p;
    uint16_t status;

    if ((in->flags & ~CREATION_FLAGS) || in->isolation_properties ||
        !hypercall_proximity_valid(&in->proximity_domain_info))
        return HV_STATUS_INVALID_PARAMETER;
    if (call->caller->parent)
        return HV_STATUS_PARTITION_TOO_DEEP;
    status = partition_create(call->caller, in->flags, disabled, &p);
    if (status == HV_STATUS_SUCCESS)
        out->partition_id = p->id;
    return status;
}

uint16_t hypercall_initialize_partition(struct hypercall *call)
{
    const struct hv_input_partition *in = call->input;
    struct partition *p;
    uint16_t status = hypercall_begin_change(call, in->partition_id, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (atomic_load(&p->state) != PARTITION_UNINITIALIZED)
        status = HV_STATUS_INVALID_PARTITION_STATE;
    else
        status = partition_initialize(p);
    hypercall_end_change(p);
    return status;
}

// From the moment the state says finalizing no new call touches the partition's VPs or memory;
// calls that began before hold references and are waited for.
uint16_t hypercall_finalize_partition(struct hypercall *call)
{
    const struct hv_input_partition *in = call->input;
    struct partition *p;
    uint16_t status = hypercall_begin_change(call, in->partition_id, &p);
    uint32_t state;

    if (status != HV_STATUS_SUCCESS)
        return status;
    state = atomic_load(&p->state);
    if (state != PARTITION_ACTIVE && state != PARTITION_FINALIZING) {
        status = HV_STATUS_INVALID_PARTITION_STATE;
    } else if (p->children) {
        status = HV_STATUS_OPERATION_DENIED;
    } else {
        atomic_store(&p->state, PARTITION_FINALIZING);
        status = atomic_load(&p->references) > 2 ? HV_STATUS_RETRY : partition_finalize(p);
    }
    hypercall_end_change(p);
    return status;
}

uint16_t hypercall_delete_partition(struct hypercall *call)
{
    const struct hv_input_partition *in = call->input;
    struct partition *p;
    uint16_t status = hypercall_begin_change(call, in->partition_id, &p);
    uint32_t state;

    if (status != HV_STATUS_SUCCESS)
        return status;
    state = atomic_load(&p->state);
    if (state != PARTITION_UNINITIALIZED && state != PARTITION_FINALIZED)
        status = HV_STATUS_INVALID_PARTITION_STATE;
    else
        status = partition_delete(p);
    if (status != HV_STATUS_SUCCESS) // else it is gone, this reference with it
        hypercall_end_change(p);
    return status;
}

uint16_t hypercall_get_partition_id(struct hypercall *call)
{
    struct hv_output_get_partition_id *out = call->output;

    out->partition_id = call->caller->id;
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_get_next_child(struct hypercall *call)
{
    const struct hv_input_get_next_child_partition *in = call->input;
    struct hv_output_get_next_child_partition *out = call->output;
    struct partition *p;
    uint16_t status = hypercall_target(call, in->parent_id, HYPERCALL_SELF | HYPERCALL_PARENT, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    out->next_child_id = partition_next_child(p, in->previous_child_id);
    partition_put(p);
    return out->next_child_id == UINT64_MAX ? HV_STATUS_INVALID_PARTITION_ID : HV_STATUS_SUCCESS;
}

// ---- properties (tlfs-reference 2.19): those that mean something --------------------------------

static uint64_t get_privileges(const struct partition *p)
{
    return p->privileges;
}

static uint64_t get_msr_action(const struct partition *p)
{
    return p->unimplemented_msr_action;
}

static uint16_t set_msr_action(struct partition *p, uint64_t value)
{
    if (value > HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    p->unimplemented_msr_action = (uint32_t)value;
    return HV_STATUS_SUCCESS;
}

static uint64_t get_guest_os_id(const struct partition *p)
{
    return p->guest_os_id;
}

static uint64_t get_reference_time(const struct partition *p)
{
    return partition_reference_time(p);
}

static uint16_t set_reference_time(struct partition *p, uint64_t value)
{
    return value > INT64_MAX ? HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE : partition_set_time(p, value);
}

static uint64_t get_time_freeze(const struct partition *p)
{
    return (__atomic_load_n(&p->time_stops, __ATOMIC_RELAXED) & TIME_STOP_FREEZE) != 0;
}

static uint16_t set_time_freeze(struct partition *p, uint64_t value)
{
    if (value > 1)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    partition_freeze_time(p, value);
    return HV_STATUS_SUCCESS;
}

static uint64_t get_tracking(const struct partition *p)
{
    return atomic_load(&p->gpa.tracked);
}

static uint16_t set_tracking(struct partition *p, uint64_t value)
{
    if (value > 1 || (value && !vcpu->tracks()))
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    atomic_store(&p->gpa.tracked, value);
    return HV_STATUS_SUCCESS;
}

static uint64_t get_apic_frequency(const struct partition *p)
{
    return p->clock.apic_hz;
}

static uint64_t get_clock_frequency(const struct partition *p)
{
    return p->tsc_hz;
}

static uint16_t set_clock_frequency(struct partition *p, uint64_t hz)
{
    return partition_set_tsc_hz(p, hz) ? HV_STATUS_SUCCESS : HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
}

static uint64_t get_vendor(const struct partition *p)
{
    (void)p;
    return cpu_features.amd ? HV_PROCESSOR_VENDOR_AMD : HV_PROCESSOR_VENDOR_INTEL;
}

static uint64_t get_address_width(const struct partition *p)
{
    (void)p;
    return cpu_physical_bits();
}

static uint64_t get_xsave_states(const struct partition *p)
{
    return p->features.xcr0;
}

static uint64_t get_features0(const struct partition *p)
{
    return procfeatures_bank(&p->features, PROCFEATURES0);
}

static uint64_t get_features1(const struct partition *p)
{
    return procfeatures_bank(&p->features, PROCFEATURES1);
}

static uint64_t get_xsave_features(const struct partition *p)
{
    return procfeatures_bank(&p->features, PROCFEATURES_XSAVE);
}

enum property_phase {
    PROPERTY_ACTIVE,    // while the partition is active
    PROPERTY_EARLY_SET, // may be set until it is initialized, read at any time
    PROPERTY_LIVE       // until it is finalized
};

struct property {
    uint32_t code;
    enum property_phase phase;
    uint64_t (*get)(const struct partition *p);
    uint16_t (*set)(struct partition *p, uint64_t value); // NULL: read only
};

#define PROPERTY(name) HV_PARTITION_PROPERTY_##name
static const struct property properties[] = {
    {PROPERTY(PRIVILEGE_FLAGS), PROPERTY_EARLY_SET, get_privileges, partition_set_privileges},
    {PROPERTY(SYNTHETIC_PROC_FEATURES), PROPERTY_EARLY_SET, partition_features,
     partition_set_features},
    {PROPERTY(CPU_RESERVE), PROPERTY_LIVE, controls_reserve, controls_set_reserve},
    {PROPERTY(CPU_CAP), PROPERTY_LIVE, controls_cap, controls_set_cap},
    {PROPERTY(CPU_WEIGHT), PROPERTY_LIVE, controls_weight, controls_set_weight},
    {PROPERTY(CPU_GROUP_ID), PROPERTY_LIVE, controls_group, controls_set_group},
    {PROPERTY(UNIMPLEMENTED_MSR_ACTION), PROPERTY_ACTIVE, get_msr_action, set_msr_action},
    {PROPERTY(GUEST_OS_ID), PROPERTY_ACTIVE, get_guest_os_id, NULL},
    {PROPERTY(REFERENCE_TIME), PROPERTY_ACTIVE, get_reference_time, set_reference_time},
    {PROPERTY(TIME_FREEZE), PROPERTY_ACTIVE, get_time_freeze, set_time_freeze},
    {PROPERTY(GPA_PAGE_ACCESS_TRACKING), PROPERTY_ACTIVE, get_tracking, set_tracking},
    {PROPERTY(APIC_FREQUENCY), PROPERTY_ACTIVE, get_apic_frequency, NULL},
    {PROPERTY(PROCESSOR_CLOCK_FREQUENCY), PROPERTY_EARLY_SET, get_clock_frequency,
     set_clock_frequency},
    {PROPERTY(PROCESSOR_VENDOR), PROPERTY_EARLY_SET, get_vendor, NULL},
    {PROPERTY(PHYSICAL_ADDRESS_WIDTH), PROPERTY_EARLY_SET, get_address_width, NULL},
    {PROPERTY(IMPLEMENTED_PHYSICAL_ADDRESS_BITS), PROPERTY_EARLY_SET, get_address_width, NULL},
    {PROPERTY(XSAVE_STATES), PROPERTY_EARLY_SET, get_xsave_states, NULL},
    {PROPERTY(PROCESSOR_FEATURES_DEPRECATED), PROPERTY_EARLY_SET, get_features0, NULL},
    {PROPERTY(PROCESSOR_FEATURES0), PROPERTY_EARLY_SET, get_features0, NULL},
    {PROPERTY(PROCESSOR_FEATURES1), PROPERTY_EARLY_SET, get_features1, NULL},
    {PROPERTY(PROCESSOR_XSAVE_FEATURES), PROPERTY_EARLY_SET, get_xsave_features, NULL},
};

static const struct property *find_property(uint32_t code)
{
    for (unsigned i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
        if (properties[i].code == code)
            return &properties[i];
    return NULL;
}

uint16_t hypercall_get_property(struct hypercall *call)
{
    const struct hv_input_get_partition_property *in = call->input;
    struct hv_output_get_partition_property *out = call->output;
    const struct property *property = find_property(in->property_code);
    struct partition *p;
    uint16_t status;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_target(call, in->partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!property)
        status = HV_STATUS_UNKNOWN_PROPERTY;
    else if (property->phase == PROPERTY_ACTIVE && atomic_load(&p->state) != PARTITION_ACTIVE)
        status = HV_STATUS_INVALID_PARTITION_STATE;
    else
        out->property_value = property->get(p);
    partition_put(p);
    return status;
}

static uint16_t set_property(struct partition *p, const struct property *property, uint64_t value)
{
    uint32_t state = atomic_load(&p->state);

    if (!property)
        return HV_STATUS_UNKNOWN_PROPERTY;
    if (!property->set)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    if (!(state == PARTITION_UNINITIALIZED && property->phase != PROPERTY_ACTIVE) &&
        !(state == PARTITION_ACTIVE && property->phase != PROPERTY_EARLY_SET))
        return HV_STATUS_INVALID_PARTITION_STATE;
    return property->set(p, value);
}

uint16_t hypercall_set_property(struct hypercall *call)
{
    const struct hv_input_set_partition_property *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_begin_change(call, in->partition_id, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = set_property(p, find_property(in->property_code), in->property_value);
    hypercall_end_change(p);
    return status;
}
