"""The wire contract of Modelyard: what the hub service, the model server and the library say to each other.

Belongs here: pydantic models of REST resources, the package format, names, conditions, and the error tree.
Does not belong here: anything that does I/O, and any import but the standard library and pydantic.
"""

from importlib.metadata import version

__version__ = version("modelyard")
