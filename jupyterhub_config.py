"""JupyterHub's configuration: choices only. What they mean is in modelyard_hub/jupyterhub.py."""

from modelyard_hub.jupyterhub import configure, further
from modelyard_hub.settings import Settings

c = get_config()  # noqa: F821 - JupyterHub provides it
settings = Settings()
configure(c, settings)
for path in further(settings):
    load_subconfig(path)  # noqa: F821 - as above
