"""What a process and its descendants cost, from /proc (proc(5))."""

import os
import re
import socket
import time
from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if stat := _stat(int(pid)):
            children.setdefault(int(stat[1]), []).append(int(pid))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before that may hold anything."""
    text = _read(pid, "stat")
    return text.rpartition(")")[2].split() if text else None


def _read(pid: int, file: str) -> str:
    try:
        with open(f"/proc/{pid}/{file}") as opened:
            return opened.read()
    except OSError:
        return ""  # It has ended.


def cpu(root: int) -> float:
    """CPU seconds, user and system, of the process, its descendants, and those of theirs that have ended."""
    stats = filter(None, map(_stat, tree(root)))
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / TICKS


def machine_cpu() -> float:
    """CPU seconds of all that runs on this machine."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def reset_peaks(root: int) -> None:
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass  # It has ended.


def peak(root: int) -> int:
    """The sum of each process' peak of resident memory, in octets. What they share counts for each."""
    return sum(_kilobytes(root, "status", "VmHWM"))


def resident(root: int) -> int:
    """Resident memory in octets; what processes share counts once."""
    return sum(_kilobytes(root, "smaps_rollup", "Pss"))


def _kilobytes(root: int, file: str, field: str) -> Iterator[int]:
    for pid in tree(root):
        if match := re.search(rf"^{field}:\s+(\d+) kB", _read(pid, file), re.MULTILINE):
            yield int(match[1]) * 1024


def signal_all(pids: list[int], signal: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            pass


def await_end(pids: list[int]) -> bool:
    """Whether all of them end within some seconds."""
    for _ in range(100):
        if not any(_read(pid, "cmdline") for pid in pids):
            return True
        time.sleep(0.05)
    return False


def await_listening(port: int) -> None:
    """Waits until somebody listens on this port of loopback."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")
