// SPDX-License-Identifier: BSD-2-Clause-Patent
// CRC-32C (Castagnoli), as RFC 3720 (iSCSI) and MS-VHDX use it.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The checksum of what `crc` is the checksum of (0: nothing) and these bytes after it.
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);
