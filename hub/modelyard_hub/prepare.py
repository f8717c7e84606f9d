"""What a pod does before its program starts: `python -m modelyard_hub.prepare database NAME… | public-key TARGET`.

`database` waits until the server of the settings `NAME` (such as `hub_database_url`) answers, and makes the database
where it is missing and may be made. `public-key` writes the public half of the signing key, so that what checks tokens
never holds what makes them.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from modelyard_api.errors import ModelyardError
from modelyard_hub.settings import Settings
from modelyard_hub.signing import load_or_make
from modelyard_hub.store.create import create


def main(arguments: list[str]) -> int:
    """Exit code 1 with one line when it cannot be."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = Settings()
    try:
        match arguments:
            case ["database", *names] if names:
                for name in names:
                    value = getattr(settings, name)
                    create(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
            case ["public-key", target] if settings.signing_key:
                Path(target).write_text(load_or_make(settings.signing_key).public_pem)
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except ModelyardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
