"""sipp: one or several processes, their statistics and their own load."""

import csv
import glob
import os
import re
import subprocess
import time

from . import process

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Calls/s one sipp makes without falsifying the picture by its own delays.
CALLS_PER_SECOND = 400


class Sipp:
    """One sipp in a directory of its own."""

    def __init__(self, scenario, directory, target, rtp_port, hold_s, calls, rate, cores, callers):
        os.makedirs(directory)
        self.directory = directory
        self.scenario = scenario
        self.port = process.free_udp_port()
        self.log = os.path.join(directory, "calls.log")
        command = ["sipp", target or "127.0.0.1:9", "-sf", os.path.join(HERE, f"{scenario}.xml")]
        command += ["-i", "127.0.0.1", "-p", str(self.port), "-nostdin"]
        command += ["-key", "rtp_port", str(rtp_port), "-d", str(int(hold_s * 1000))]
        command += ["-m", str(calls), "-l", str(calls + 10), "-max_socket", "1000"]
        command += ["-trace_stat", "-stf", "stat.csv", "-fd", "1"]
        command += ["-trace_logs", "-log_file", "calls.log", "-trace_err"]
        command += ["-recv_timeout", "60000", "-buff_size", "4194304"]
        if callers:
            with open(os.path.join(directory, "callers.csv"), "w") as file:
                file.write("SEQUENTIAL\n" + "".join(f"{caller};\n" for caller in callers))
            command += ["-inf", "callers.csv", "-r", str(max(1, round(rate)))]
        else:
            # A repeated INVITE, when sipp was slow with its 200, is no fault.
            command += ["-default_behaviors", "all,-abortunexp"]
        self.command = command
        self.cores = cores
        self.child = None
        self.cpu = 0.0
        self.begun = self.ended = None

    def start(self, *more):
        with open(os.path.join(self.directory, "screen"), "wb") as screen:
            self.child = subprocess.Popen(
                [*self.command, *more],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
                preexec_fn=process.pin(self.cores),
            )
        self.begun = time.monotonic()
        return self

    def poll(self):
        """Whether it still runs; notes its CPU time, which is gone after its end."""
        cpu = process.cpu_seconds(self.child.pid)
        if cpu:
            self.cpu = cpu
        if self.child.poll() is None:
            return True
        self.ended = self.ended or time.monotonic()
        return False

    def stop(self):
        """Ends it."""
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def load(self):
        """Part of a core it used while it ran."""
        seconds = (self.ended or time.monotonic()) - self.begun
        return self.cpu / seconds if seconds > 0 else 0.0

    def statistics(self):
        """The last line of its statistics file, numbers as numbers."""
        try:
            with open(os.path.join(self.directory, "stat.csv"), newline="") as file:
                rows = list(csv.DictReader(file, delimiter=";"))
        except OSError:
            return {}
        return {key: int(value) for key, value in (rows[-1] if rows else {}).items()
                if key and value and value.isdigit()}

    def errors(self):
        """What it complained about, each kind once, with how often."""
        kinds = {}
        for name in glob.glob(os.path.join(self.directory, "*_errors.log")):
            with open(name, errors="replace") as file:
                for line in re.findall(r"\d+\.\d+: (\D.*)", file.read()):
                    kind = re.sub(r"'[^']*@[^']*'|\(\d+\)|\d+ trips", "..", line).strip()
                    kinds[kind] = kinds.get(kind, 0) + 1
        ordered = sorted(kinds.items(), key=lambda kind: -kind[1])
        return [f"{count} times: {kind}" for kind, count in ordered[:8]]


FAILURES = {
    "FailedMaxUDPRetrans(C)": "no answer to retransmissions",
    "FailedUnexpectedMessage(C)": "unexpected message",
    "FailedCallRejected(C)": "rejected",
    "FailedRegexpDoesntMatch(C)": "no audio port in the SDP",
    "FailedTimeoutOnRecv(C)": "no message in time",
    "FailedCannotSendMessage(C)": "could not send",
    "FailedOutboundCongestion(C)": "congestion",
}


def total(sipps, column):
    return sum(sipp.statistics().get(column, 0) for sipp in sipps)


def failures(sipps):
    """{reason: calls} of the calls that failed."""
    counted = {name: total(sipps, column) for column, name in FAILURES.items()}
    return {name: count for name, count in counted.items() if count}
