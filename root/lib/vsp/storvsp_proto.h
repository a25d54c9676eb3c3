// SPDX-License-Identifier: BSD-2-Clause-Patent
// Packets of the storage VSP: offsets of fields in bytes, integers little endian
// (spec: VMBus 2.1; Linux drivers/scsi/storvsc_drv.c, struct vstor_packet).
#pragma once
#include <stdint.h>

enum stor_operation {
    STOR_COMPLETE_IO = 1,
    STOR_REMOVE_DEVICE = 2,
    STOR_EXECUTE_SRB = 3,
    STOR_RESET_LUN = 4,
    STOR_RESET_ADAPTER = 5,
    STOR_RESET_BUS = 6,
    STOR_BEGIN_INIT = 7,
    STOR_END_INIT = 8,
    STOR_QUERY_VERSION = 9,
    STOR_QUERY_PROPERTIES = 10,
    STOR_ENUMERATE_BUS = 11,
    STOR_CREATE_SUB_CHANNELS = 13,
};

enum stor_packet {
    STOR_OPERATION = 0,
    STOR_FLAGS = 4,
    STOR_STATUS = 8,
    STOR_PAYLOAD = 12,
    STOR_PACKET = 64,     // from version 5.1 on
    STOR_PACKET_OLD = 48, // 2.0 and 4.2
};

// Of the whole packet.
enum stor_srb {
    SRB_LENGTH = 12,
    SRB_STATUS = 14,
    SRB_SCSI_STATUS = 15,
    SRB_PATH = 17,
    SRB_TARGET = 18,
    SRB_LUN = 19,
    SRB_CDB_SIZE = 20,
    SRB_SENSE_SIZE = 21,
    SRB_DATA_IN = 22,
    SRB_TRANSFER = 24,
    SRB_CDB = 28, // CDB (16 bytes) or sense data (20)
    SRB_SENSE_MAX = 20,
};

enum stor_data_in { DATA_TO_DEVICE = 0, DATA_FROM_DEVICE = 1 };

enum stor_srb_status {
    SRB_SUCCESS = 0x01,
    SRB_ERROR = 0x04,
    SRB_INVALID_REQUEST = 0x06,
    SRB_INVALID_LUN = 0x20,
    SRB_AUTOSENSE = 0x80,
};

enum stor_version_field { VERSION_NUMBER = 12 };
enum stor_version {
    STOR_V2_0 = 0x0200,
    STOR_V4_2 = 0x0402,
    STOR_V5_1 = 0x0501,
    STOR_V6_0 = 0x0600,
    STOR_V6_2 = 0x0602,
};

enum stor_properties {
    PROPERTIES_CHANNELS = 16,
    PROPERTIES_FLAGS = 20,
    PROPERTIES_TRANSFER = 24,
    PROPERTIES_MULTI_CHANNEL = 1,
};

enum stor_sub_channels { SUB_CHANNELS_COUNT = 12 };

#define STOR_STATUS_OK           UINT32_C(0)
#define STOR_STATUS_PARAMETER    UINT32_C(0xC000000D) // STATUS_INVALID_PARAMETER
#define STOR_STATUS_REQUEST      UINT32_C(0xC0000010) // STATUS_INVALID_DEVICE_REQUEST
#define STOR_STATUS_REVISION     UINT32_C(0xC0000059) // STATUS_REVISION_MISMATCH
#define STOR_STATUS_RESOURCES    UINT32_C(0xC000009A) // STATUS_INSUFFICIENT_RESOURCES
#define STOR_STATUS_DEVICE_STATE UINT32_C(0xC0000184) // STATUS_INVALID_DEVICE_STATE
