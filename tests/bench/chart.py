# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The bars of docs/bench.svg: instructions of each operation, on a logarithmic scale."""

import math

from benchlib import LATENESS, ROWS

LEFT, WIDTH, RIGHT = 300, 560, 90
BAR, GAP = 11, 9
TOP = 44
DECADES = 6
COLOURS = {"corbel": "#1b6f4a", "kvm": "#c9772e", "xen": "#4a6fb3"}
NAMES = {"corbel": "Corbel", "kvm": "KVM", "xen": "Xen"}


def _x(value):
    return LEFT + WIDTH * min(math.log10(max(value, 1)) / DECADES, 1)


def _text(x, y, text, anchor="start", size=12):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="#222">{text}</text>')


def _row(y, label, bars):
    parts = [_text(LEFT - 8, y + BAR * len(bars) / 2 + 4, label, "end")]
    for name, value in bars:
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{_x(value) - LEFT:.1f}" height="{BAR - 1}" '
                     f'fill="{COLOURS[name]}"/>')
        parts.append(_text(_x(value) + 4, y + BAR - 2, f"{value:,}", size=9))
        y += BAR
    return "".join(parts)


def svg(figures, others):
    """The chart; medians. Lateness is not a cost and is left out."""
    everyone = {"corbel": figures, **{name: peer["figures"] for name, peer in others.items()}}
    body, y = [], TOP
    for row, label in ROWS.items():
        bars = [(name, got[row][1]) for name, got in everyone.items() if row in got]
        if row not in figures or row in LATENESS:
            continue
        body.append(_row(y, label, bars))
        y += BAR * len(everyone) + GAP
    lines = [f'<line x1="{_x(10 ** d):.0f}" y1="{TOP - 6}" x2="{_x(10 ** d):.0f}" y2="{y}" '
             f'stroke="#ddd"/>' + _text(_x(10 ** d), TOP - 10, f"{10 ** d:,}", "middle", 9)
             for d in range(DECADES + 1)]
    legend = "".join(
        f'<rect x="{LEFT + 90 * i}" y="8" width="10" height="10" fill="{COLOURS[name]}"/>'
        + _text(LEFT + 90 * i + 14, 17, NAMES[name]) for i, name in enumerate(everyone))
    width = LEFT + WIDTH + RIGHT
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 10}" '
            f'viewBox="0 0 {width} {y + 10}" font-family="sans-serif">'
            f'<rect width="{width}" height="{y + 10}" fill="#fff"/>'
            + _text(8, 17, "Executed instructions (log scale)") + legend + "".join(lines)
            + "".join(body) + "</svg>\n")
