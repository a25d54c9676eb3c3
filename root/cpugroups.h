// SPDX-License-Identifier: BSD-2-Clause-Patent
// CPU groups of corbel.conf ([cpugroup NAME]). They are made before the first VM; the hypervisor
// knows them by number, in the order of the file.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "boot/conf.h"

// A section begins: where its keys go; NULL and *what, why not.
struct conf_group *cpugroups_open(const char *name, const char **what);

// Tells the hypervisor of them. False: root_fail() has been called.
bool cpugroups_start(void);

// The number of the group with this name; one that no group has, if there is none.
uint64_t cpugroups_id(const char *name);
