# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Rig tests: table.py lists them, jobs.py says how each kind is run and judged."""
