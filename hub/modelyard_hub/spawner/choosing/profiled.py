"""What a spawner of ours has beside JupyterHub's: the sizes of the server that it starts."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import object_session
from traitlets import Any as AnyTrait
from traitlets import observe

from modelyard_api.choices import Sizes
from modelyard_api.profiles import Quota
from modelyard_hub.spawner.choosing.used import Used
from modelyard_hub.spawner.rooms import own

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)  # fmt: skip


class Profiled(Used):
    """Before one of JupyterHub's in a class's bases: a spawner that starts servers of the sizes in `sizes`, which
    `Chooser.apply` sets before each start."""

    sizes: Sizes | None = None
    quota: Quota | None = None
    """The user's."""
    earlier: Any = None
    """The options before the present ones."""
    refused: Any = None
    """A form that was refused, and why, for the page that shows it again."""

    again: Any = AnyTrait(None, allow_none=True, config=True, help="`Chooser.again`.")

    @observe("user_options")  # type: ignore[untyped-decorator]
    def _remember(self, change: Any) -> None:
        self.earlier = change.old or None

    def take(self, sizes: Sizes) -> None:
        """Start the next server with these."""
        self.sizes = sizes
        self.cpu_limit, self.cpu_guarantee = sizes.cpu, sizes.cpu_sure
        self.mem_limit = self.mem_guarantee = sizes.memory

    def own(self) -> tuple[dict[str, float], dict[str, float]]:
        """What it takes of the user's quota, and how much that is."""
        return own.takes(self.sizes), own.most(self.quota)

    def forget_choice(self, earlier: Any = None) -> None:
        """Make `earlier` the saved choice: the next start without options does not meet the present one again."""
        self.orm_spawner.user_options = earlier
        if session := object_session(self.orm_spawner):
            session.commit()
        self.user_options = earlier or {}

    def options_from_query(self, query_data: Any) -> Any:
        """As a form's: JupyterHub's own does not say whose it is."""
        return self.run_options_from_form(query_data)

    def get_env(self) -> dict[str, str]:
        """JupyterHub's variables, and those of the profile."""
        env: dict[str, str] = super().get_env()
        return self.size_variables() | env  # what an administrator sets wins

    def size_variables(self) -> dict[str, str]:
        """What the server is told of its sizes, beside JupyterHub's CPU_LIMIT and MEM_LIMIT."""
        return {"MODELYARD_PROFILE": self.sizes.profile} if self.sizes else {}


def threads(cpu: float) -> dict[str, str]:
    """Variables by which libraries start no more threads than there are CPUs: they count a whole machine's."""
    return dict.fromkeys(_THREADS, str(max(1, int(cpu))))
