"""The picture, as SVG: what comes out over what goes in, and how late."""

import math
from xml.sax.saxutils import escape

from .report import by_row

WIDTH, HEIGHT = 460, 300
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 62, 14, 34, 44

# Told apart by those who do not see red and green, too.
COLOURS = {"ringwire": "#0072b2", "ringwire-ordinary": "#56b4e9", "rtpengine": "#d55e00", "bare-uring": "#009e73",
           "bare-epoll": "#cc79a7", "reflector": "#777777"}


def picture(results):
    """A row of two charts for each shape and number of calls."""
    rows = {}
    for (shape, calls, device), repeats in by_row(results).items():
        runs = [sorted((found["offered_pps"], found["delivered_pps"], found["delay_p99_us"])
                       for found in result["rungs"]) for result in repeats]
        rows.setdefault((shape, calls), {})[device] = runs
    charts = []
    for at, ((shape, calls), devices) in enumerate(rows.items()):
        title = f"{shape}, {calls} calls"
        top = at * HEIGHT
        charts.append(chart(0, top, f"{title}: packets/s out, by packets/s in",
                            {name: [[(x, y) for x, y, _ in run] for run in runs]
                             for name, runs in devices.items()}, False))
        charts.append(chart(WIDTH, top, f"{title}: delay p99 in µs, by packets/s in",
                            {name: [[(x, z) for x, _, z in run if z > 0] for run in runs]
                             for name, runs in devices.items()}, True))
    height = max(1, len(rows)) * HEIGHT
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{height}"'
            f' viewBox="0 0 {2 * WIDTH} {height}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{"".join(charts)}</svg>\n')


def chart(left, top, title, lines, logarithmic):
    """A line for each run of each device, of one colour."""
    every = [point for runs in lines.values() for run in runs for point in run] or [(1, 1)]
    most_x = max(x for x, _ in every)
    most_y = max(y for _, y in every)
    least_y = min(y for _, y in every) if logarithmic else 0
    if logarithmic:
        least_y = 10 ** math.floor(math.log10(least_y))
        most_y = 10 ** math.ceil(math.log10(max(most_y, 10 * least_y)))
    inner_width = WIDTH - MARGIN_LEFT - MARGIN_RIGHT
    inner_height = HEIGHT - MARGIN_TOP - MARGIN_BOTTOM

    def across(x):
        return left + MARGIN_LEFT + inner_width * x / most_x

    def up(y):
        if logarithmic:
            part = math.log10(y / least_y) / math.log10(most_y / least_y)
        else:
            part = y / most_y
        return top + MARGIN_TOP + inner_height * (1 - part)

    parts = [f'<text x="{left + MARGIN_LEFT}" y="{top + 20}" font-weight="bold">{escape(title)}</text>\n']
    bottom = top + HEIGHT - MARGIN_BOTTOM
    for x in ticks(most_x):
        parts.append(f'<line x1="{across(x):.1f}" y1="{bottom}" x2="{across(x):.1f}" y2="{bottom + 4}"'
                     f' stroke="#444"/><text x="{across(x):.1f}" y="{bottom + 16}"'
                     f' text-anchor="middle">{short(x)}</text>\n')
    heights = ([10 ** power for power in range(round(math.log10(least_y)), round(math.log10(most_y)) + 1)]
               if logarithmic else ticks(most_y))
    for y in heights:
        parts.append(f'<line x1="{across(0):.1f}" y1="{up(y):.1f}" x2="{across(most_x):.1f}"'
                     f' y2="{up(y):.1f}" stroke="#ddd"/><text x="{across(0) - 6:.1f}"'
                     f' y="{up(y) + 4:.1f}" text-anchor="end">{short(y)}</text>\n')
    place = left + MARGIN_LEFT
    for name, runs in lines.items():
        colour = COLOURS.get(name, "#000000")
        for points in runs:
            path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>\n')
            parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="1.5" fill="{colour}"/>\n'
                      for x, y in points]
        parts.append(f'<rect x="{place}" y="{bottom + 26}" width="10" height="10" fill="{colour}"/>'
                     f'<text x="{place + 14}" y="{bottom + 35}">{escape(name)}</text>\n')
        place += 28 + 6 * len(name)
    return "".join(parts)


def ticks(most):
    """Round numbers from nought to at most this, four to eight of them."""
    step = 10 ** math.floor(math.log10(max(most, 1) / 4))
    step *= next((factor for factor in (1, 2, 5) if most / (step * factor) <= 8), 10)
    return [step * n for n in range(int(most / step) + 1)]


def short(value):
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
