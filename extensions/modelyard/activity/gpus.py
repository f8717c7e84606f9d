"""Whether GPUs compute, as NVIDIA's driver says."""

from __future__ import annotations

from typing import Any, Protocol


class Gpus(Protocol):
    """The GPUs that this server sees."""

    def count(self) -> int:
        """How many."""
        ...

    def share(self) -> float:
        """Of the last moment, the share in which the one that is used most computed; 0 to 1."""
        ...


class NoGpus:
    """None, or nobody who tells of them."""

    def count(self) -> int:
        """None."""
        return 0

    def share(self) -> float:
        """Nothing."""
        return 0.0


class Nvidia:
    """By NVML, which needs no CUDA context, so that looking takes no memory of the GPU."""

    def __init__(self, nvml: Any, handles: list[Any]) -> None:
        self._nvml, self._handles = nvml, handles

    def count(self) -> int:
        """See `Gpus`."""
        return len(self._handles)

    def share(self) -> float:
        """See `Gpus`. Of a part of a GPU (MIG) nobody tells: it counts as used while a process has memory of it."""
        return max((self._one(handle) for handle in self._handles), default=0.0)

    def _one(self, handle: Any) -> float:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        except self._nvml.NVMLError:
            pass
        try:
            return 1.0 if self._nvml.nvmlDeviceGetComputeRunningProcesses(handle) else 0.0
        except self._nvml.NVMLError:
            return 0.0


def look() -> Gpus:
    """What there is, of what this server may use."""
    import os

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or os.environ.get("NVIDIA_VISIBLE_DEVICES") == "void":
        return NoGpus()
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no library, no driver, no GPU
        return NoGpus()
    return Nvidia(pynvml, handles) if handles else NoGpus()
