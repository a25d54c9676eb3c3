// SPDX-License-Identifier: BSD-2-Clause-Patent
// Preloaded into QEMU's translator by tools/qemu: takes a data race out of it (docs/emulators.md).
//
// Each FXRSTOR, XRSTOR, FLDENV or FNINIT on any virtual processor calls cpu_clear_ignne(), which
// clears a bit in the flags of the first one, without a lock and not atomically. When that
// processor runs VMRUN, #VMEXIT, STGI or CLGI at the same moment, the change of "nested paging",
// "GIF" or "virtual interrupt masking" in the same word is lost. The bit itself is of no use here:
// it is set by writes to port F0h only, which are for systems with CR0.NE clear. So the function
// becomes a plain return.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME "cpu_clear_ignne"

__attribute__((constructor)) static void patch(void)
{
    static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa}, ret = 0xc3;
    unsigned char *code = dlsym(RTLD_DEFAULT, NAME);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)code & ~(page - 1));

    if (!code) // a shell that starts it, or a build that does not export its symbols
        return;
    if (mprotect(start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        perror("qemu: " NAME);
        return;
    }
    code[memcmp(code, endbr64, sizeof endbr64) ? 0 : sizeof endbr64] = ret;
    mprotect(start, 2 * page, PROT_READ | PROT_EXEC);
}
