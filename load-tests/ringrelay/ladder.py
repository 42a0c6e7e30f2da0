"""One device under rising load: where it ends, what it costs on the way, and
whether it comes back."""

import json
import os
import subprocess
import time

from . import sdp
from .devices import DEVICES
from .network import GENERATOR_INTERFACE, Problem, start

# What a strictly clean rate may lose: refusals of a full ring included.
CLEAN = 0.001
# After an overload a device is in order again when it loses less than this.
ORDERLY = 0.01
# The device is past its plateau when it delivers less than this part of what
# it was given, or of the most that it ever delivered.
PAST = 0.85
# The generator was too slow when more than this was left out, or was late.
SHORT = 0.02
STEP, FINE_STEP = 1.25, 1.12
# Seconds after the last call is up until nothing is left of its setting up: a
# SIP transaction lingers for 32 (RFC 3261 table 4).
SETTLED_S = 35
# Seconds without packets between two runs of the generator.
LINGER_S = 0.3


class Lengths:
    """Of the parts of a measurement, in ms."""

    def __init__(self, quick):
        self.warm = 200 if quick else 300
        self.rung = 700 if quick else 1200
        self.steady_warm = 300 if quick else 500
        self.steady = 1500 if quick else 4000
        self.overload = 1500 if quick else 3000
        self.bisections = 2 if quick else 4


class Session:
    """A device with its calls up, and the generator. A context manager."""

    def __init__(self, network, options, directory, name, calls, shape):
        self.network = network
        self.options = options
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.kind, self.calls, self.shape = DEVICES[name], calls, shape
        self.device = None
        self.generator = None
        self.passing = None
        self.up_since = 0.0

    def __enter__(self):
        try:
            if self.kind.by_xdp:
                self._let_pass()
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        # Every stream is heard of before anything is measured.
        self.run(max(2000, 4 * len(self.device.legs)), 500, 1000)
        return self

    def __exit__(self, *_):
        for helper in (self.generator, self.passing):
            if helper and helper.poll() is None:
                helper.kill()
                helper.wait()
        if self.device:
            self.device.stop()

    def _let_pass(self):
        self.passing = subprocess.Popen(
            [*self.network.prefix("generator"), self.options.tool, "pass",
             "--interface", GENERATOR_INTERFACE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.passing.stdout.readline().strip() != "ready":
            raise Problem("no XDP program can be put on the generator's interface; its complaint is above")

    def _set_up(self):
        self.generator = self._start_generator()
        fingerprint = self._answer()
        self.device = self.kind(self.network, self.options, self.directory,
                                sdp.legs(self.calls, self.shape, fingerprint))
        self.device.set_up()
        self.up_since = time.monotonic()
        streams = os.path.join(self.directory, "streams")
        with open(streams, "w") as file:
            file.writelines(leg.line() + "\n" for leg in self.device.legs)
        self._ask(f"streams {streams} {self.device.pid}")

    def _start_generator(self):
        command = [*self.network.prefix("generator"), self.options.tool, "generate",
                   "--interface", GENERATOR_INTERFACE, "--to", self.network.hardware_address,
                   "--core", str(self.options.generator_core),
                   "--device-core", str(self.options.device_core),
                   "--device-thread", str(self.network.receiving["device"])]
        if self.kind.reflected:
            command.append("--reflected")
        return start(command, [self.options.generator_core], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, text=True)

    def _ask(self, line):
        try:
            self.generator.stdin.write(line + "\n")
            self.generator.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def _answer(self):
        line = self.generator.stdout.readline().strip()
        if not line:
            raise Problem("the generator ended; its complaint is above")
        return line

    def run(self, rate, warm_ms, window_ms):
        """One run of the generator; what it and the kernel found."""
        before = self.network.counters()
        found = json.loads(self._ask(f"run {rate:.0f} {warm_ms} {window_ms}"))
        found["kernel"] = {name: value - before.get(name, 0)
                           for name, value in self.network.counters().items()}
        found["loss"] = found["lost"] / found["sent"] if found["sent"] else 1.0
        if self.device.child.poll() is not None:
            raise Problem(f"the device ended under load:\n{self.device.tail()}")
        return found


def is_short(found):
    """Whether the generator did not offer what it was asked for."""
    return found["offered_pps"] < (1 - SHORT) * found["rate_pps"]


def is_late(found):
    """Whether it did not do so in time."""
    return is_short(found) or found["late"] > SHORT * found["sent"]


def climb(session, start, lengths, say):
    """Rising rates until what comes out rises no more: (rungs, plateau, clean)."""
    rungs = []
    rate = start
    best = 0
    past = 0
    while True:
        found = session.run(rate, lengths.warm, lengths.rung)
        rungs.append(found)
        say(found)
        best = max(best, found["delivered_pps"])
        down = found["delivered_pps"] < PAST * max(best, found["offered_pps"])
        past = past + 1 if down else 0
        if past == 2 or is_short(found):
            break
        clean = found["loss"] < CLEAN
        rate *= STEP if clean else FINE_STEP
    return rungs, best


def clean_rate(session, rungs, lengths, say):
    """The highest rate without loss: between the last rung of which it and all
    before it were clean, and the next."""
    low, high = 0, None
    for found in rungs:
        if found["loss"] >= CLEAN:
            high = found["rate_pps"]
            break
        low = found["offered_pps"]
    if high is None:
        return low
    if low == 0:
        return 0
    for _ in range(lengths.bisections):
        middle = (low + high) / 2
        found = session.run(middle, lengths.warm, lengths.rung)
        say(found)
        if found["loss"] < CLEAN and not is_late(found):
            low = middle
        else:
            high = middle
    return low


def recovery_s(found):
    """Seconds from the end of an overload until a second begins in which next
    to nothing is lost; None where none came. A tenth of a second with losses
    later on is not the overload's: steady runs have such, too."""
    good = [received >= (1 - ORDERLY) * sent for sent, received in found["slices"] if sent]
    for at in range(len(good) - 9):
        if all(good[at:at + 10]):
            return LINGER_S + 0.1 * at
    return None


def measure(network, options, directory, name, calls, shape, say):
    """Everything about one device, once: a fresh one to find its limit, and a
    fresh one to measure it below, at and above that."""
    lengths = Lengths(options.quick)
    result = {"device": name, "calls": calls, "shape": shape}
    with Session(network, options, os.path.join(directory, "climb"), name, calls, shape) as session:
        rungs, plateau = climb(session, options.start, lengths, say)
    result["rungs"] = rungs
    result["plateau_pps"] = plateau
    most = max(range(len(rungs)), key=lambda at: rungs[at]["delivered_pps"])
    result["generator_late"] = any(map(is_late, rungs[: most + 1]))
    with Session(network, options, os.path.join(directory, "steady"), name, calls, shape) as session:
        result["clean_pps"] = clean_rate(session, rungs, lengths, say)
        result["steady"] = {}
        for part in (25, 50, 100):
            found = session.run(plateau * part / 100, lengths.steady_warm, lengths.steady)
            say(found)
            result["steady"][str(part)] = found
        found = session.run(2 * plateau, lengths.warm, lengths.overload)
        say(found)
        result["overload"] = found
        found = session.run(plateau / 2, 0, 2500)
        say(found)
        result["after_overload"] = found
        time.sleep(max(0.0, session.up_since + SETTLED_S - time.monotonic()))
        # A packet each, so that what has fallen due is done.
        session.run(max(2000, 4 * len(session.device.legs)), 0, 1000)
        result["bytes"] = session.device.bytes_of_calls()
        result["recovery_s"] = recovery_s(found)
    return result


def smoke(network, options, directory, name, calls, shape, say):
    """A few packets through, and nothing about times."""
    with Session(network, options, directory, name, calls, shape) as session:
        found = session.run(400, 200, 800)
        say(found)
        silent = found["silent_legs"]
        if silent or 0 in found["received_by_side"]:
            raise Problem(f"{name}, {shape}: nothing came out of {silent} of"
                          f" {2 * calls} streams: {session.device.tail()}")
    steady = {part: found for part in ("25", "50", "100")}
    return {"device": name, "calls": calls, "shape": shape, "rungs": [found],
            "plateau_pps": found["delivered_pps"], "clean_pps": found["delivered_pps"],
            "generator_late": False, "bytes": None, "steady": steady,
            "overload": found, "after_overload": found, "recovery_s": 0}
