"""What is measured: the gateway, rtpengine, and what has no logic at all."""

import os
import signal
import socket
import subprocess
import time

from ringload import process

from . import ng, sdp, sip
from .network import DEVICE, DEVICE_INTERFACE, SIGNALLING, Problem, start

SHAPES = tuple(sdp.PROFILES)


class Device:
    """A process in the device's namespace, on the device's core, with calls."""

    shapes = ("plain",)
    reflected = False

    def __init__(self, network, options, directory, legs):
        self.network = network
        self.options = options
        self.directory = directory
        self.legs = legs
        self.child = None
        self.idle_bytes = None
        self.files = None

    # Whether it sends by XDP_TX, which veth takes only where it has a program
    # itself.
    by_xdp = False

    def start(self, command, **more):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGWIRE_")}
        self.log = os.path.join(self.directory, f"{type(self).__name__.lower()}.log")
        with open(self.log, "wb") as log:
            self.child = start([*self.network.prefix("device"), *command], self.cores(),
                               stderr=log, env=environment,
                               **{"stdin": subprocess.DEVNULL, "stdout": log, **more})

    def cores(self):
        """Where its threads may run; those that relay are the device's core's."""
        return [self.options.device_core]

    @property
    def pid(self):
        """`ip netns exec` becomes what it runs, so it is the child itself."""
        return self.child.pid

    def wait(self, up, what):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Problem(f"{what} did not start:\n{self.tail()}")
            if up():
                return
            time.sleep(0.05)
        raise Problem(f"{what} does not answer:\n{self.tail()}")

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def bytes_of_calls(self):
        """Private memory that the calls and their packets have taken; None of
        what knows no calls."""
        if self.idle_bytes is None:
            return None
        return process.anonymous_bytes(self.pid) - self.idle_bytes

    def stop(self):
        # With calls up, an orderly end takes long.
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
            # Those of a ring are closed some time after its process's end.
            self.network.wait_for_no_sockets("device")

    def udp_socket(self, side, address):
        with self.network.inside(side):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind((address, 0))
        return made


class Ringwire(Device):
    """As it comes: its shard before everything else on the device's core, and
    its other threads on whichever core has time."""

    shapes = SHAPES
    realtime = '"auto"'

    def cores(self):
        return [self.options.device_core, self.options.generator_core]

    CONFIG = """\
data_dir = "{directory}/data"
cores = [{core}]
secret = "relay-test-secret"
public_ip = ["{ip}"]
log_level = "warn"

[http]
listen = "{ip}:8008"

[sip]
listen = ["{ip}:5060"]

[rtp]
ports = "20000-59999"
backend = "{backend}"
realtime = {realtime}
inactivity_timeout_s = 86400

[webrtc]
port = 0
handshakes_per_second = 100000
handshakes_per_second_per_address = 100000

[calls]
max_calls = 1000000

[[number]]
number = "room"
subnets = ["10.77.0.0/24"]
answer = {{ room = "{{from}}", peer = "{{call_id}}" }}
"""

    def set_up(self):
        config = os.path.join(self.directory, "gateway.toml")
        with open(config, "w") as file:
            file.write(self.CONFIG.format(directory=self.directory, ip=DEVICE,
                                          core=self.options.device_core,
                                          backend=self.options.backend,
                                          realtime=self.realtime))
        self.start([self.options.gateway, "--config", config])
        self.wait(self.listens, "the gateway")
        time.sleep(0.3)
        self.idle_bytes = process.anonymous_bytes(self.pid)
        with self.udp_socket("generator", SIGNALLING) as own:
            caller = sip.Caller(own, (DEVICE, 5060), "room")
            answers = caller.call([(f"c{leg.call}", leg.describe()) for leg in self.legs])
        for leg, answer in zip(self.legs, answers):
            leg.answered(answer)

    def listens(self):
        with self.network.inside("device"):
            probe = socket.socket()
        with probe:
            return probe.connect_ex((DEVICE, 8008)) == 0


class OrdinaryRingwire(Ringwire):
    """Where `rtp.realtime` is not allowed, and with one core for all threads."""

    realtime = "false"

    def cores(self):
        return [self.options.device_core]


class Rtpengine(Device):
    shapes = SHAPES
    PORT = 2223

    def set_up(self):
        config = os.path.join(self.directory, "rtpengine.conf")
        with open(config, "w") as file:
            # Or the package's own file counts.
            file.write("[rtpengine]\n")
        self.start(["rtpengine", f"--config-file={config}", "--foreground", "--log-stderr",
                    "--log-level=3", "--table=-1", f"--interface={DEVICE}",
                    f"--listen-ng={DEVICE}:{self.PORT}", "--num-threads=1",
                    "--port-min=20000", "--port-max=59999", "--timeout=86400",
                    "--silent-timeout=86400", "--endpoint-learning=immediate",
                    f"--pidfile={self.directory}/rtpengine.pid"])
        with self.udp_socket("generator", SIGNALLING) as own:
            client = ng.Client(own, (DEVICE, self.PORT))
            self.wait(lambda: client.request("ping"), "rtpengine")
            time.sleep(0.3)
            self.idle_bytes = process.anonymous_bytes(self.pid)
            for one, other in zip(self.legs[::2], self.legs[1::2]):
                call = {"call_id": f"call{one.call}", "from_tag": "one"}
                answer = client.request("offer", **call, sdp=one.describe(), ICE="remove",
                                        replace=["origin"], transport_protocol="RTP/AVP")
                other.answered(answer["sdp"])
                answer = client.request("answer", **call, to_tag="other", sdp=other.describe(),
                                        ICE="remove", replace=["origin"])
                one.answered(answer["sdp"])


class Helper(Device):
    """A part of relay_load that says `ready`."""

    words = ()

    def set_up(self):
        for number, leg in enumerate(self.legs):
            leg.device = (DEVICE, 20000 + number)
        streams = os.path.join(self.directory, "device.streams")
        with open(streams, "w") as file:
            file.writelines(leg.line() + "\n" for leg in self.legs)
        self.start([self.options.tool, *self.words, "--streams", streams,
                    "--interface", DEVICE_INTERFACE, "--core", str(self.options.device_core)],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline().strip() != "ready":
            self.child.wait()
            raise Problem(f"relay_load {' '.join(self.words)} did not start:\n{self.tail()}")


class BareUring(Helper):
    words = ("forward", "uring")


class BareEpoll(Helper):
    words = ("forward", "epoll")


class Reflector(Helper):
    words = ("reflect",)
    reflected = True

    by_xdp = True


DEVICES = {
    "ringwire": Ringwire,
    "ringwire-ordinary": OrdinaryRingwire,
    "rtpengine": Rtpengine,
    "bare-uring": BareUring,
    "bare-epoll": BareEpoll,
    "reflector": Reflector,
}
