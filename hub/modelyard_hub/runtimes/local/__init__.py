"""Runs workloads as child processes of this machine that outlive the process that started them.

Belongs here: spawning, adopting, watching and ending processes, their logs, and the checkpoint files that let a later
process take them up. Does not belong here: endpoints, traffic, the store.
"""

from modelyard_hub.runtimes.local.options import LocalOptions, Timing
from modelyard_hub.runtimes.local.runtime import LocalRuntime
from modelyard_hub.runtimes.local.stop import stop_everything

__all__ = ["LocalOptions", "LocalRuntime", "Timing", "stop_everything"]
