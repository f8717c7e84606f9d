"""`make fuzz`: each parser with atheris, which looks for bytes that reach code that none reached before.

    python tests/fuzz/run.py            # all, a minute each
    python tests/fuzz/run.py csv -max_total_time=600

What makes one fail is written to the current folder as `crash-…`: put it into tests/fuzz/corpus/<target>/, where the
tests try it from then on. Inputs that reach new code are kept in .cache/fuzz.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
MINUTE = "-max_total_time=60"


def fuzz(name: str, arguments: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["modelyard_server", "modelyard_api"]):
        from fuzz.targets import TARGETS, codecs

        codecs()  # what is imported only when a package is loaded

    kept = Path.cwd() / ".cache" / "fuzz" / name
    kept.mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], "-max_len=4096", *arguments, str(kept), str(HERE / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], sys.argv[2:])
    names = sorted(folder.name for folder in (HERE / "corpus").iterdir())
    failed = [name for name in names if subprocess.run([sys.executable, __file__, name, MINUTE]).returncode]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
