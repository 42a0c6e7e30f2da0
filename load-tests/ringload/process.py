"""What /proc says of a process, and free ports."""

import os
import random
import socket

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    """User and system time of the process so far; None when it is gone."""
    return _cpu(f"/proc/{pid}/stat")


def thread_cpu_seconds(pid):
    """The same by thread: {tid: (name, seconds)}."""
    threads = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            place = f"/proc/{pid}/task/{tid}"
            seconds = _cpu(f"{place}/stat")
            with open(f"{place}/comm") as comm:
                threads[tid] = (comm.read().strip(), seconds or 0.0)
    except OSError:
        pass
    return threads


def _cpu(stat):
    try:
        with open(stat) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except OSError:
        return None


def resident_bytes(pid):
    """Memory of the process that is in RAM; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * PAGE
    except OSError:
        return 0


def anonymous_bytes(pid):
    """Memory of the process that is in RAM and no file's; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine_cpu_seconds():
    """Time that all cores together were busy since boot."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, stat.readline().split()[1:9]
        )
    return (user + nice + system + irq + softirq + steal) / TICKS


def free_udp_port(address="127.0.0.1"):
    """A UDP port nobody has; below the ephemeral range, where nobody gets one by chance."""
    for _ in range(200):
        port = random.randrange(10000, 15000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free UDP port between 10000 and 15000")


def free_udp_range(pairs, address="127.0.0.1"):
    """First and last port of so many pairs that nobody has now. Other load
    tests may run on this machine, so it begins anywhere."""
    size = 2 * pairs
    if size > 45000:
        raise RuntimeError(f"{pairs} RTP port pairs are more than one address has")
    # Below the ephemeral range where it fits there.
    last_start = (32768 if size < 16000 else 60999) - size
    for _ in range(50):
        first = random.randrange(15000, last_start, 2)
        if all(_is_free(address, port) for port in range(first, first + size)):
            return first, first + size - 1
    raise RuntimeError(f"no {pairs} free RTP port pairs in a row")


def _is_free(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
            return True
        except OSError:
            return False


def free_tcp_port(address="127.0.0.1"):
    """A TCP port nobody has."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def pin(cores):
    """For subprocess's preexec_fn: run on these cores, if any are named."""

    def apply():
        if cores:
            os.sched_setaffinity(0, cores)

    return apply
