"""The table, in markdown, and everything behind it in JSON."""

import json
import os
import statistics

# From this part of the device's core on, others falsify what is measured.
OTHERS_LIMIT = 0.03
# Of the plateau, in percent.
PARTS = ("25", "50", "100")


def by_row(results):
    """Results of the repeats of one row together, in order."""
    rows = {}
    for result in results:
        key = (result["shape"], result["calls"], result["device"])
        rows.setdefault(key, []).append(result)
    return rows


def median(results, of):
    values = [value for value in map(of, results) if value is not None]
    return statistics.median(values) if values else None


def number(value, digits=0, unit=1):
    return "–" if value is None else f"{value / unit:,.{digits}f}"


def spread(results, of, digits=0, unit=1):
    """The median, and lowest to highest where there are several."""
    values = sorted(map(of, results))
    text = number(statistics.median(values), digits, unit)
    if len(values) > 1:
        text += f" ({number(values[0], digits, unit)}–{number(values[-1], digits, unit)})"
    return text


def own_us_per_packet(found):
    """What the process and the thread that receives for it took."""
    return found["process_us_per_packet"] + found["receiving_us_per_packet"]


def kilobytes_per_call(rows, shape, device):
    """The slope of memory over the calls, where it was measured with several
    numbers of them, so that what is taken once is in no call's share; else the
    difference to the idle process, divided."""
    points = [(calls, median(results, lambda result: result["bytes"]))
              for (row_shape, calls, row_device), results in rows.items()
              if (row_shape, row_device) == (shape, device)]
    points = [(calls, size) for calls, size in points if size is not None]
    if not points:
        return None
    if len(points) == 1:
        return points[0][1] / points[0][0] / 1024
    return statistics.linear_regression(*zip(*points)).slope / 1024


def markdown(results, ceiling, machine, notes, options):
    rows = by_row(results)
    lines = [f"172-byte RTP, two legs a call, both ways, over a veth pair; device and its receiving"
             f" on core {options.device_core}. {machine}. {options.repeats} of each, median"
             " (lowest–highest).", ""]
    if ceiling:
        lines += [f"The generator's own limit: {number(ceiling['best_pps'])} packets/s out and in,"
                  f" against a reflector in the kernel; {number(ceiling['clean_pps'])} in time and"
                  " without loss.", ""]
    lines += [
        "| shape | calls | device | plateau, packets/s | of rtpengine's | clean, packets/s |"
        " µs of the core a packet at 25 / 50 / 100 % | of those, its own and receiving |"
        " kB a call |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    short = False
    for (shape, calls, device), repeats in rows.items():
        plateau = median(repeats, lambda result: result["plateau_pps"])
        other = rows.get((shape, calls, "rtpengine"))
        other = other and median(other, lambda result: result["plateau_pps"])
        mark = "†" if any(result["generator_late"] for result in repeats) else ""
        short = short or bool(mark)
        core = " / ".join(number(median(repeats, lambda result, part=part:
                                        result["steady"][part]["core_us_per_packet"]), 2)
                          for part in PARTS)
        own = " / ".join(number(median(repeats, lambda result, part=part:
                                       own_us_per_packet(result["steady"][part])), 2)
                         for part in PARTS)
        lines.append(
            f"| {shape} | {calls} | {device} | {spread(repeats, lambda result: result['plateau_pps'])}{mark}"
            f" | {number(plateau / other, 2) if other else '–'}"
            f" | {spread(repeats, lambda result: result['clean_pps'])}"
            f" | {core} | {own}"
            f" | {number(kilobytes_per_call(rows, shape, device), 1)} |")
    lines += [
        "",
        "| shape | calls | device | delay p50 / p99 / p99.9 at 25 %, µs | at 50 % | at 100 % |"
        " lost at 100 % | given twice the plateau: forwarded, p99 | in order again after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (shape, calls, device), repeats in rows.items():
        delays = [" / ".join(number(median(repeats, lambda result, part=part, name=name:
                                           result["steady"][part][f"delay_{name}_us"]))
                             for name in ("p50", "p99", "p999"))
                  for part in PARTS]
        lost = median(repeats, lambda result: 100 * result["steady"]["100"]["loss"])
        forwarded = median(repeats, lambda result: result["overload"]["delivered_pps"])
        late = median(repeats, lambda result: result["overload"]["delay_p99_us"])
        recovery = [result["recovery_s"] for result in repeats]
        after = "not within 2.5 s" if None in recovery else f"{max(recovery):.1f} s"
        lines.append(f"| {shape} | {calls} | {device} | {' | '.join(delays)} | {number(lost, 2)} %"
                     f" | {number(forwarded)}/s, {number(late, 1, 1000)} ms | {after} |")
    lines.append("")
    if short:
        lines += ["† The generator could not offer more, or not in time: the device's plateau may be"
                  " higher.", ""]
    disturbed = [found["core_others"] for result in results for found in result["steady"].values()]
    if disturbed and max(disturbed) > OTHERS_LIMIT:
        lines += [f"Others took up to {100 * max(disturbed):.0f} % of the device's core while it was"
                  f" measured ({100 * statistics.median(disturbed):.0f} % in the median): the figures are"
                  " worse than they would be alone, clean rates and delays most of all.", ""]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def save(directory, text, results, ceiling, machine, notes, picture):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "table.md"), "w") as file:
        file.write(text)
    with open(os.path.join(directory, "raw.json"), "w") as file:
        json.dump({"machine": machine, "notes": notes, "ceiling": ceiling, "results": results},
                  file, indent=1)
        file.write("\n")
    with open(os.path.join(directory, "plot.svg"), "w") as file:
        file.write(picture)
