"""What runs in a restore's pod: FOLDER of /from, a snapshot, is copied below INTO of /to. Needs only Python."""

import os
import shutil
import stat
import sys


def copy(source: str, folder: str, target: str, into: str) -> str:
    """The name under which it is there now; what was there before stays. SystemExit says why not."""
    wanted = os.path.realpath(os.path.join(source, folder))
    root = os.path.realpath(source)
    if wanted != root and not wanted.startswith(root + os.sep):
        sys.exit(f"{folder} leads out of the snapshot")
    if not os.path.exists(wanted):
        sys.exit(f"there is no {folder} in the snapshot")
    place = os.path.join(target, into)
    os.makedirs(place, exist_ok=True)
    base = os.path.basename(folder.rstrip("/")) or "all"
    name, count = base, 1
    while os.path.lexists(os.path.join(place, name)):
        count += 1
        name = f"{base}-{count}"
    part = os.path.join(place, f".{name}.part")
    if os.path.isdir(part):  # of a try that was ended
        shutil.rmtree(part)
    if os.path.isdir(wanted):
        shutil.copytree(wanted, part, symlinks=True, ignore_dangling_symlinks=True, ignore=_not_ours)
    else:
        shutil.copy2(wanted, part)
    os.rename(part, os.path.join(place, name))
    return name


def _not_ours(folder: str, names: list[str]) -> list[str]:
    """What a file system keeps for itself at its root, and what is only of use to the program that made it."""
    return [name for name in names if name == "lost+found" or not _is_kept(os.path.join(folder, name))]


def _is_kept(path: str) -> bool:
    kind = stat.S_IFMT(os.lstat(path).st_mode)
    return kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


if __name__ == "__main__":
    said = ""
    try:
        said = copy("/from", os.environ["FOLDER"], "/to", os.environ["INTO"])
    except SystemExit as error:
        said = str(error)
        raise
    except (OSError, shutil.Error) as error:
        said = str(error)
        raise SystemExit(said[:2000]) from error
    finally:
        with open("/dev/termination-log", "w", encoding="utf-8") as log:
            log.write(said[:2000])
