"""Whether this machine can measure: what stands in the way, and how to mend it."""

import os
import resource
import shutil
import time

from ringload import process

from .network import Problem

# A core that others take more of than this makes no figures.
OTHERS_LIMIT = 0.05


def check(options):
    """Raises at what makes measuring impossible; returns what makes it worse."""
    if os.geteuid() != 0:
        raise Problem("needs root (namespaces, packet sockets, pinned kernel threads): run it with sudo")
    tools = {"ip": "iproute2", "ethtool": "ethtool", "sysctl": "procps"}
    if "rtpengine" in options.device:
        tools["rtpengine"] = "rtpengine-daemon"
    for tool, package in tools.items():
        if not shutil.which(tool):
            raise Problem(f"{tool} is missing: scripts/install-dependencies relay (package {package})")
    allowed = sorted(os.sched_getaffinity(0))
    for name in ("device_core", "generator_core"):
        if getattr(options, name) not in allowed:
            raise Problem(f"--{name.replace('_', '-')} {getattr(options, name)}: may run on"
                          f" {', '.join(map(str, allowed))} only; two cores are needed")
    if options.device_core == options.generator_core:
        raise Problem("--device-core and --generator-core have to be different cores")
    # Both legs of a call have two sockets each, RTP and RTCP.
    _raise_file_limit(4 * max(options.calls) + 1000)
    return [*_notes(options)]


def _raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as error:
        raise Problem(f"{wanted} open files are needed and {hard} are allowed: ulimit -n {wanted}"
                      " where that may be raised, or fewer --calls") from error


def _notes(options):
    for core in (options.device_core, options.generator_core):
        governor = _read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")
        if governor and governor != "performance":
            yield (f"core {core} has the governor {governor!r}, so its speed changes meanwhile:"
                   f" echo performance >/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")
    siblings = _read(f"/sys/devices/system/cpu/cpu{options.device_core}/topology/thread_siblings_list")
    if str(options.generator_core) in siblings.replace("-", ",").split(","):
        yield "both cores are threads of one core and take from each other: choose --generator-core"
    before, idle = time.monotonic(), idle_seconds()
    time.sleep(1)
    seconds = time.monotonic() - before
    for core in (options.device_core, options.generator_core):
        busy = 1 - (idle_seconds()[core] - idle[core]) / seconds
        if busy > OTHERS_LIMIT:
            yield (f"core {core} is {100 * busy:.0f} % busy with something else: the figures will be"
                   " worse than they are; end it, or wait for its end")


def idle_seconds():
    """Time that each core had nothing to do since boot, or waited for a disk."""
    cores = {}
    with open("/proc/stat") as stat:
        for line in stat:
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                cores[int(name[3:])] = (int(fields[3]) + int(fields[4])) / process.TICKS
    return cores


def _read(place):
    try:
        with open(place) as file:
            return file.read().strip()
    except OSError:
        return ""


def describe():
    """The machine in one line."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    virtual = ", virtual" if "hypervisor" in _read("/proc/cpuinfo") else ""
    return f"{model}, {os.cpu_count()} cores{virtual}, Linux {os.uname().release}"
