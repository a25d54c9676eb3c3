# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_pool := mm/pool.c
UNIT_frames := mm/frames.c mm/pool.c
UNIT_gpa := mm/gpa.c mm/gpa_large.c mm/gpa_root.c mm/gpa_overlay.c mm/slpt.c mm/frames.c mm/pool.c
UNIT_walk := mm/walk.c
UNIT_hvmap := mm/hvmap.c mm/pool.c
