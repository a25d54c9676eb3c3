// SPDX-License-Identifier: BSD-2-Clause-Patent
// The whole ABI.
#ifndef HV_HV_H
#define HV_HV_H

#include "hv/assist.h"
#include "hv/base.h"
#include "hv/cpuid.h"
#include "hv/hypercall.h"
#include "hv/memory.h"
#include "hv/message.h"
#include "hv/msr.h"
#include "hv/partition.h"
#include "hv/registers.h"
#include "hv/stats.h"
#include "hv/status.h"
#include "hv/synic.h"
#include "hv/time.h"

#endif
