"""JupyterHub's notebook server over sockets that listen already."""

from __future__ import annotations

from typing import Any, ClassVar

from modelyard.singleuser import late
from modelyard.singleuser.listening import Early

late.import_hub()
late.import_lab()

from jupyter_server.serverapp import ServerApp  # noqa: E402
from jupyterhub.singleuser.extension import JupyterHubSingleUser  # noqa: E402


class Server(ServerApp):  # type: ignore[misc]  # Jupyter Server is not followed
    """Jupyter Server; it takes over what `Early` opened, where that is the address that it was configured with."""

    early: ClassVar[Early | None] = None

    def _is_early(self) -> bool:
        return self.early is not None and (self.early.host, self.early.port) == (self.ip, self.port)

    def _find_http_port(self) -> None:
        if self._is_early():
            return
        if self.early is not None:
            for one in self.early.sockets:
                one.close()
        super()._find_http_port()

    def _bind_http_server_tcp(self) -> bool:
        if self.early is None or not self._is_early():
            return bool(super()._bind_http_server_tcp())
        self.http_server.add_sockets(self.early.sockets)
        return True


class SingleUser(JupyterHubSingleUser):  # type: ignore[misc]  # JupyterHub is untyped
    """JupyterHub's extension, which starts the server above."""

    serverapp_class = Server

    @classmethod
    def get_extension_package(cls) -> str:
        """JupyterHub's own, which is the extension that is loaded; not this module's."""
        return "jupyterhub"


def launch(early: Early | None, argv: Any = None) -> None:
    """Start it, and return when it has ended."""
    Server.early = early
    SingleUser.launch_instance(argv)
