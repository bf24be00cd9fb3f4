"""Memory and processors that this process may use, within the limits of its control groups."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import List, Tuple


def memory(root: Path = Path("/")) -> Tuple[int, int]:
    """Total and available bytes, within the limits of the control groups."""
    lines = (line.split() for line in (root / "proc/meminfo").read_text().splitlines())
    kilobytes = {line[0].rstrip(":"): int(line[1]) for line in lines}
    total, available = kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    pairs = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for folder in _groups("memory", root):
        for limit_file, usage_file in pairs:
            with contextlib.suppress(OSError, ValueError):
                limit = int((folder / limit_file).read_text())  # "max" is none
                usage = int((folder / usage_file).read_text())
                total, available = min(total, limit), min(available, max(0, limit - usage))
    return total, available


def available_memory() -> int:
    """Bytes of memory that are available to this process."""
    return memory()[1]


def processor_quota(root: Path = Path("/")) -> float | None:
    """Number of processors that the control group (container) may use; None if it has no quota."""
    quotas = []
    for folder in _groups("cpu", root):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            quotas.append(int(quota) / int(period))
    return min((quota for quota in quotas if quota > 0), default=None)


def _groups(controller: str, root: Path) -> List[Path]:
    """Folders of this process's control groups, both versions, from the mount down to its own."""
    found = []
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controllers and controller)
        parts = Path(path).parts[1:]
        found += [top.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
    return found
