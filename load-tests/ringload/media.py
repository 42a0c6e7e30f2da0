"""The media tool, told by sipp's logs which calls are up."""

import json
import os
import re
import subprocess
import threading
import time

from . import process

# A start ends with seconds and microseconds: of the answer, and before that,
# where sipp is the caller, of the INVITE.
LINE = re.compile(r"^(start|stop) (\d+) (\S+)((?: \d+(?:\.\d+)?)*)\s*$", re.M)


class Media:
    """Follows the logs and hands each start and stop to rtp_load, if there is RTP."""

    def __init__(self, binary, rtp_port, gateway_ip, group_of, group_size, cores):
        self.group_of = group_of
        self.group_size = group_size
        self.up = {}
        self.answered_at = {}
        self.setup_ms = []
        self.most_up = 0
        self.starts = 0
        self.logs = []
        self.over = threading.Event()
        self.report = None
        self.child = None
        self.cpu = 0.0
        self.begun = time.monotonic()
        if binary:
            self.child = subprocess.Popen(
                [binary, f"127.0.0.1:{rtp_port}", gateway_ip],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=process.pin(cores),
            )
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def follow(self, log):
        """Reads this sipp log from now on."""
        self.logs.append([log, 0])

    def _follow(self):
        while True:
            last = self.over.is_set()
            for entry in self.logs:
                entry[1] = self._read(*entry)
            if self.child:
                self.cpu = process.cpu_seconds(self.child.pid) or self.cpu
            if last:
                return
            time.sleep(0.01)

    def _read(self, log, offset):
        """Hands on the whole lines past the offset; the new offset."""
        try:
            if os.path.getsize(log) <= offset:
                return offset
            with open(log, errors="replace") as file:
                file.seek(offset)
                text = file.read()
        except OSError:
            return offset
        text = text[: text.rfind("\n") + 1]
        commands = []
        for what, port, number, times in LINE.findall(text):
            group = self.group_of(number, port)
            if what == "start":
                self.up[port] = number
                self.starts += 1
                self._note_times(number, [float(word) for word in times.split()])
                self.most_up = max(self.most_up, len(self.up))
                commands.append(f"start {port} {group} {self.group_size}\n")
            else:
                self.up.pop(port, None)
                commands.append(f"stop {port} {group}\n")
        if self.child and commands:
            try:
                self.child.stdin.write("".join(commands))
                self.child.stdin.flush()
            except OSError:
                pass
        return offset + len(text.encode(errors="replace"))

    def _note_times(self, number, times):
        moments = [s + us / 1e6 for s, us in zip(times[::2], times[1::2])]
        if moments:
            self.answered_at.setdefault(number, moments[-1])
        if len(moments) == 2:
            self.setup_ms.append(1000 * (moments[1] - moments[0]))

    def stop(self):
        """Waits for packets under way; its report, None without RTP."""
        self.over.set()
        self.thread.join()
        if not self.child:
            return None
        seconds = time.monotonic() - self.begun
        output, _ = self.child.communicate(timeout=20)
        self.load = self.cpu / seconds
        self.report = json.loads(output)
        return self.report

    def kill(self):
        self.over.set()
        if self.child and self.child.poll() is None:
            self.child.kill()
