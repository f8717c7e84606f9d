"""JupyterHub's configuration: choices only. What they mean is in modelyard_hub/jupyterhub.py."""

from modelyard_hub.jupyterhub import configure
from modelyard_hub.settings import Settings

c = get_config()  # noqa: F821 - JupyterHub provides it
configure(c, Settings())
