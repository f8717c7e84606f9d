"""`python -m modelyard_server.workers`: see `child.py`."""

import os
import sys

from modelyard_server.workers.child import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for threads of the model's, which may never return.
    os._exit(status)
