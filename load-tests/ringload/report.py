"""The table at the end, and whether the thresholds hold."""

import tomllib


def percentile(values, part):
    """The value that this part of them does not exceed; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def table(rows):
    """Name and value in two columns; rows without a value are left out."""
    rows = [(name, text) for name, text in rows if text is not None]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)


def milliseconds(value):
    return None if value is None else f"{value:.2f} ms"


def exceeded(file, section, measured):
    """What is past its threshold, in words."""
    with open(file, "rb") as toml:
        thresholds = tomllib.load(toml)[section]
    found = []
    for name, most in thresholds.items():
        value = measured.get(name)
        if value is None:
            found.append(f"{name} was not measured (at most {most} is allowed)")
        elif value > most:
            found.append(f"{name} is {value:.3g}, at most {most} is allowed")
    return found
