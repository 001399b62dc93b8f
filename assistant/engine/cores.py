"""How many cores this process may compute on."""

import os
from pathlib import Path


def physical_cores() -> int:
    """The physical cores this process may use: a second thread on one core makes llama.cpp slower, not faster."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_core(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def _core(cpu: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return (topology / "physical_package_id").read_text().strip(), (topology / "core_id").read_text().strip()
    except OSError:
        return str(cpu), ""


def _quota() -> int:
    """The whole cores a container is granted (cgroup v2); very many when there is no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return 1 << 16 if limit == "max" else max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return 1 << 16
