"""A release gateway of our own: its configuration, start, requests, end."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

from . import process

SECRET = "load-test-secret"

CONFIG = """\
data_dir = "{directory}/data"
cores = {cores}
secret = "{secret}"
public_ip = ["{ip}"]
log_level = "{log_level}"

[http]
listen = "{ip}:{http_port}"

[sip]
listen = ["{ip}:{sip_port}"]

[rtp]
ports = "{rtp_first}-{rtp_last}"
backend = "{backend}"
# Calls without RTP are held as long as the test wants.
inactivity_timeout_s = 86400
port_reuse_delay_s = 1

[webrtc]
port = 0

[calls]
max_calls = 1000000

[[number]]
number = "echo"
subnets = ["127.0.0.0/8"]
answer = "echo"

[[number]]
number = "room"
subnets = ["127.0.0.0/8"]
answer = {{ room = "{{from}}", peer = "{{call_id}}" }}
"""

HOOKED = """
[[number]]
number = "hooked"
subnets = ["127.0.0.0/8"]
answer = "echo"
hook = "{hook}"
"""


class Gateway:
    """The process under test on free loopback ports."""

    def __init__(self, binary, directory, cores, backend, pairs, hook=None, more="",
                 log_level="warn"):
        self.ip = "127.0.0.1"
        self.cores = cores
        self.sip_port = process.free_udp_port()
        self.http_port = process.free_tcp_port()
        rtp_first, rtp_last = process.free_udp_range(pairs)
        self.config = os.path.join(directory, "gateway.toml")
        self.log = os.path.join(directory, "gateway.log")
        with open(self.config, "w") as file:
            file.write(
                CONFIG.format(
                    directory=directory,
                    cores=cores,
                    secret=SECRET,
                    ip=self.ip,
                    http_port=self.http_port,
                    sip_port=self.sip_port,
                    rtp_first=rtp_first,
                    rtp_last=rtp_last,
                    backend=backend,
                    log_level=log_level,
                )
                + (HOOKED.format(hook=hook) if hook else "")
                + more
            )
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGWIRE_")}
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [binary, "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.pid = self.child.pid
        self._wait_until_up()
        self.idle_bytes = process.resident_bytes(self.pid)
        self.idle_cpu = process.cpu_seconds(self.pid)
        self.idle_threads = process.thread_cpu_seconds(self.pid)

    def _wait_until_up(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise SystemExit(f"the gateway did not start:\n{self.tail()}")
            try:
                status, _ = Client(self).request("GET", "/calls")
                if status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"the gateway does not answer GET /calls:\n{self.tail()}")

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def counters(self):
        """GET /metrics as {name with labels: value}; empty when there are none."""
        try:
            status, body = Client(self).request("GET", "/metrics", raw=True)
        except OSError:
            return {}
        if status != 200:
            return {}
        lines = re.findall(r"^(\w+(?:\{[^}]*\})?) ([0-9.e+]+)$", body, re.M)
        return {name: float(value) for name, value in lines}

    def stop(self):
        """The exit status; negative for a signal."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class Client:
    """One kept-alive connection to the gateway's API. Not for several threads."""

    def __init__(self, gateway):
        self.connection = http.client.HTTPConnection(gateway.ip, gateway.http_port, timeout=10)

    def request(self, method, path, body=None, raw=False):
        headers = {"Authorization": f"Bearer {SECRET}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            text = response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            self.connection.close()
            raise OSError(str(error)) from error
        except OSError:
            self.connection.close()
            raise
        return response.status, text if raw else json.loads(text)


class Watch(threading.Thread):
    """Follows the gateway's memory, and how many calls it has, while a test runs."""

    def __init__(self, gateway, calls_up):
        super().__init__(daemon=True)
        self.gateway = gateway
        self.calls_up = calls_up
        self.samples = []
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            self.samples.append((self.calls_up(), process.resident_bytes(self.gateway.pid)))

    def stop(self):
        self.over.set()
        self.join()

    def most_bytes(self):
        return max((size for _, size in self.samples), default=0)

    def bytes_per_call(self):
        """The slope of memory over calls while their number grows: what is
        taken once, at the first calls, is in no call's share. None under 100
        calls at once: too few to tell it from what is taken once."""
        most = max((calls for calls, _ in self.samples), default=0)
        peak = next((at for at, (calls, _) in enumerate(self.samples) if calls == most), 0)
        rising = [sample for sample in self.samples[: peak + 1] if sample[0] >= most / 4]
        if most < 100 or len(rising) < 5:
            return None
        mean_calls = sum(calls for calls, _ in rising) / len(rising)
        mean_size = sum(size for _, size in rising) / len(rising)
        spread = sum((calls - mean_calls) ** 2 for calls, _ in rising)
        common = sum((calls - mean_calls) * (size - mean_size) for calls, size in rising)
        return common / spread if spread else None
