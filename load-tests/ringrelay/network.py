"""Two network namespaces joined by a veth pair: the generator's and the
device's, each with a core. Receiving costs the core of the side that receives,
as it would with a network card: NAPI runs in a kernel thread, pinned."""

import contextlib
import ctypes
import os
import subprocess
import threading
import time

from ringload import process

# The device, and the generator's socket for signalling.
DEVICE = "10.77.0.2"
SIGNALLING = "10.77.0.1"
# The calls' legs. No namespace has these addresses: the generator takes what
# is sent to them from the wire, and no kernel answers for it.
LEGS = ("10.78.0.1", "10.78.0.2")
LEGS_NETWORK = "10.78.0.0/24"
# Where the device sends them. It is nobody's hardware address, so that the
# generator's kernel looks no further at what comes in.
NOBODY = "02:00:00:00:00:77"

GENERATOR_INTERFACE = "rwgen"
DEVICE_INTERFACE = "rwdev"

CLONE_NEWNET = 0x40000000


class Problem(Exception):
    """What is wrong, and how to mend it."""


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Network:
    """The namespaces. Use as a context manager: they go at its end."""

    def __init__(self, device_core, generator_core):
        self.cores = {"device": device_core, "generator": generator_core}
        self.names = {side: f"ringwire-{side}-{os.getpid()}" for side in self.cores}
        # Kernel threads that receive, by side.
        self.receiving = {}

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def prefix(self, side):
        """What to put before a command that is to run there."""
        return ["ip", "netns", "exec", self.names[side]]

    def _build(self):
        for name in self.names.values():
            command("ip", "netns", "add", name)
        generator, device = self.names["generator"], self.names["device"]
        queues = ("numtxqueues", "1", "numrxqueues", "1")
        command("ip", "link", "add", GENERATOR_INTERFACE, "netns", generator, *queues,
                "type", "veth", "peer", "name", DEVICE_INTERFACE, "netns", device, *queues)
        for side, interface, address in (("generator", GENERATOR_INTERFACE, SIGNALLING),
                                         ("device", DEVICE_INTERFACE, DEVICE)):
            inside = self.prefix(side)
            command(*inside, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
            command(*inside, "ip", "link", "set", "lo", "up")
            command(*inside, "ip", "address", "add", f"{address}/24", "dev", interface)
            command(*inside, "ip", "link", "set", interface, "up")
        for leg in LEGS:
            command(*self.prefix("device"), "ip", "neighbour", "add", leg, "lladdr", NOBODY,
                    "nud", "permanent", "dev", DEVICE_INTERFACE)
        command(*self.prefix("device"), "ip", "route", "add", LEGS_NETWORK, "dev", DEVICE_INTERFACE)
        for side, interface in (("generator", GENERATOR_INTERFACE), ("device", DEVICE_INTERFACE)):
            self._thread_receiving(side, interface)
        # The generator never waits: what it receives has to come in between.
        os.sched_setscheduler(self.receiving["generator"], os.SCHED_FIFO, os.sched_param(1))
        self.hardware_address = command(*self.prefix("device"), "cat",
                                        f"/sys/class/net/{DEVICE_INTERFACE}/address").strip()

    def _thread_receiving(self, side, interface):
        # veth has NAPI only with GRO (or XDP), and takes only those packets there
        # whose sender does not segment in hardware. Checksums stay offloaded, as
        # with a network card.
        command(*self.prefix(side), "ethtool", "-K", interface, "gro", "on", "tso", "off")
        before = threads(interface)
        place = f"/sys/class/net/{interface}/threaded"
        command(*self.prefix(side), "sh", "-c", f"echo 1 >{place}")
        if command(*self.prefix(side), "cat", place).strip() != "1":
            raise Problem(f"{interface} does not take threaded NAPI, so receiving would be on the"
                          " sender's bill: needs Linux 5.12 or newer")
        deadline = time.monotonic() + 2
        while not (found := threads(interface) - before):
            if time.monotonic() > deadline:
                raise Problem(f"no kernel thread napi/{interface}-… after threaded NAPI was"
                              " turned on: is /proc hidden from this process?")
            time.sleep(0.01)
        for thread in found:
            os.sched_setaffinity(thread, [self.cores[side]])
            # `nice` counts for all that takes part, or for none.
            os.setpriority(os.PRIO_PROCESS, thread, niceness())
        self.receiving[side] = min(found)

    @contextlib.contextmanager
    def inside(self, side):
        """This thread is in the namespace meanwhile; sockets made here stay in it."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as home:
            enter(f"/run/netns/{self.names[side]}")
            try:
                yield
            finally:
                _setns(home.fileno())

    def counters(self, side="device"):
        """What the kernel dropped there, by name."""
        found = {}
        for line in command(*self.prefix(side), "cat", "/proc/net/snmp").splitlines():
            name, *fields = line.split()
            if name == "Udp:" and fields[0].isdigit():
                found = {key: int(value) for key, value in zip(keys, fields)
                         if key in ("InErrors", "RcvbufErrors", "SndbufErrors", "NoPorts")}
            keys = fields
        return found

    def wait_for_no_sockets(self, side):
        """Until no UDP socket is left there."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if "UDP: inuse 0 " in command(*self.prefix(side), "cat", "/proc/net/sockstat"):
                return
            time.sleep(0.1)
        raise Problem("the device's sockets are still there 20 s after its end")


def start(command, cores, **more):
    """A process of a session of its own on these cores. Its session is what the
    kernel shares a core by (autogroup): device and generator are not to share
    one, and `nice` counts among sessions only where it is said again."""
    child = subprocess.Popen(command, preexec_fn=process.pin(cores), start_new_session=True, **more)
    with contextlib.suppress(OSError):
        with open(f"/proc/{child.pid}/autogroup", "w") as autogroup:
            autogroup.write(str(niceness()))
    return child


def niceness():
    return os.getpriority(os.PRIO_PROCESS, 0)


def enter(place):
    with open(place) as namespace:
        _setns(namespace.fileno())


def _setns(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def threads(interface):
    """Kernel threads that receive for interfaces of this name."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/comm") as comm:
                # Cut to 15 characters by the kernel.
                if comm.read().startswith(f"napi/{interface}-"):
                    found.add(int(pid))
    return found
