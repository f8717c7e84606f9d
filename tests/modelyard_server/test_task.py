"""Running a command to its end: `python -m modelyard_server.task` as a process, to directories and a real S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from harness.disk import small_disk
from harness.s3 import S3, server
from harness.wait import eventually
from modelyard_api.redact import GIVEN, Given, told
from modelyard_api.tasks import TaskState, TaskStatus

PYTHON = sys.executable


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        yield running


def start(what: str, folder: Path, *options: str, code: str = "", **environment: str) -> subprocess.Popen[str]:
    """`run` with a Python command, or `deliver`."""
    command = [PYTHON, "-m", "modelyard_server.task", what, "--folder", str(folder), "--every", "0.1", *options]
    if what == "run":
        command += ["--", PYTHON, "-u", "-c", code]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.Popen(command, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, *options: str, code: str, **environment: str) -> tuple[int, str]:
    process = start("run", folder, *options, code=code, **environment)
    output, errors = process.communicate(timeout=60)
    assert process.returncode is not None
    return process.returncode, output + errors


def status(output: Path) -> TaskStatus:
    return TaskStatus.from_json((output / "status.json").read_text())


RESULT = """
import os, pathlib
folder = pathlib.Path(os.environ["MODELYARD_OUTPUT"])
(folder / "a" / "b").mkdir(parents=True)
(folder / "a" / "b" / "ü #1.txt").write_text("nested")
(folder / "score.json").write_text("0.9")
print("working in", os.getcwd())
"""


def test_log_results_and_status_are_at_the_output(tmp_path: Path) -> None:
    code, said = run(tmp_path / "run", "--output", str(tmp_path / "out"), code=RESULT)
    assert (code, said) == (0, "")
    out = tmp_path / "out"
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files == {"log", "status.json", "output/score.json", "output/a/b/ü #1.txt"}
    assert (out / "log").read_text() == f"working in {tmp_path / 'run' / 'work'}\n"
    found = status(out)
    assert (found.state, found.exit_code, found.reason) == (TaskState.succeeded, 0, "")
    assert found.started <= found.ended
    assert status(tmp_path / "run") == found


def test_to_s3(s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("runs")
    big = "import os; open(os.environ['MODELYARD_OUTPUT'] + '/big', 'wb').write(bytes(20_000_000)); print('done')"
    code, said = run(tmp_path / "run", "--output", "s3://runs/ada/1", code=big, **s3.environment)
    assert (code, said) == (0, "")
    assert bytes(obstore.get(bucket, "ada/1/log").bytes()) == b"done\n"
    assert obstore.head(bucket, "ada/1/output/big")["size"] == 20_000_000
    assert TaskStatus.from_json(bytes(obstore.get(bucket, "ada/1/status.json").bytes())).state is TaskState.succeeded


def test_the_command_has_its_variables_and_not_the_keys_of_the_store(s3: S3, tmp_path: Path) -> None:
    s3.bucket("keys")
    (tmp_path / "environment.json").write_text(json.dumps({"COLOUR": "green", "AWS_REGION": "mine"}))
    options = ("--environment", str(tmp_path / "environment.json"), "--files", "/files", "--home")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    run(tmp_path / "run", "--output", "s3://keys/1", *options, code=show, **s3.environment)
    told = json.loads((tmp_path / "run" / "log").read_text())
    assert {k: v for k, v in told.items() if k.startswith("AWS_")} == {"AWS_REGION": "mine"}
    assert told["COLOUR"] == "green"
    assert told["MODELYARD_FILES"] == "/files"
    assert told["HOME"] == str(tmp_path / "run" / "home")


LEAKS = """
import os, sys, time
folder, password = os.environ["MODELYARD_OUTPUT"], os.environ["DB"]
open(folder + "/out.ipynb", "w").write('{"text": "' + password + '"}')
print("path", os.environ["KEY"])
sys.stdout.write("password " + password[:5]); sys.stdout.flush(); time.sleep(0.3)
print(password[5:], open(os.environ["KEY"]).read())
raise SystemExit("cannot connect to " + password)
"""


def test_secrets_are_in_nothing_that_it_leaves(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "key.pem").write_text("private-line")
    given = told((Given("db", env="DB"), Given("key", env="KEY", file="key.pem")))
    (files / "environment.json").write_text(json.dumps({"DB": "hunter22", GIVEN: given}))
    options = ("--environment", str(files / "environment.json"), "--files", str(files), "--tee")
    code, said = run(tmp_path / "run", "--output", str(tmp_path / "out"), *options, code=LEAKS)
    assert code == 1
    assert (
        said
        == (tmp_path / "out" / "log").read_text()
        == (f"path {files / 'key.pem'}\npassword [secret] [secret]\ncannot connect to [secret]\n")
    )
    assert (tmp_path / "out" / "output" / "out.ipynb").read_text() == '{"text": "[secret]"}'
    found = status(tmp_path / "out")
    assert found.message == "It ended with exit code 1: cannot connect to [secret]"
    everything = b"".join(
        p.read_bytes() for folder in ("run", "out") for p in (tmp_path / folder).rglob("*") if p.is_file()
    )
    assert b"hunter22" not in everything
    assert b"private-line" not in everything


@pytest.mark.parametrize(
    ("code", "expected", "reason", "words"),
    [
        ("print('no table'); raise SystemExit(3)", 3, "Exited", "exit code 3: no table"),
        ("import os; os.kill(os.getpid(), 11)", 139, "Signaled", "SIGSEGV"),
        ("raise MemoryError", 1, "OutOfMemory", "exit code 1"),
    ],
)
def test_a_failure_says_why(tmp_path: Path, code: str, expected: int, reason: str, words: str) -> None:
    returned, _ = run(tmp_path / "run", "--output", str(tmp_path / "out"), code=code)
    found = status(tmp_path / "out")
    assert (returned, found.exit_code, found.state, found.reason) == (expected, expected, TaskState.failed, reason)
    assert words in found.message


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    command = [PYTHON, "-m", "modelyard_server.task", "run", "--folder", str(tmp_path / "run"), "--output",
               str(tmp_path / "out"), "/no/such/program"]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == 127
    assert status(tmp_path / "out").reason == "StartError"
    assert "/no/such/program" in status(tmp_path / "out").message


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("not yet"))
print("begun")
while True: time.sleep(1)
"""


def test_too_long(tmp_path: Path) -> None:
    options = ("--output", str(tmp_path / "out"), "--timeout", "0.5", "--grace", "0.2")
    returned, _ = run(tmp_path / "run", *options, code=STUBBORN)
    found = status(tmp_path / "out")
    assert (returned, found.exit_code, found.reason) == (124, 137, "DeadlineExceeded")
    assert "0.5 s" in found.message
    assert found.lines == ("begun", "not yet")


def test_too_much_memory_children_included(tmp_path: Path) -> None:
    inner = "x = bytearray(300 * 2**20); import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    returned, _ = run(tmp_path / "run", "--output", str(tmp_path / "out"), "--memory", str(200 * 2**20), code=code)
    assert returned in (143, 137)
    assert status(tmp_path / "out").reason == "OutOfMemory"
    assert "limit of 200 MiB" in status(tmp_path / "out").message


def test_told_to_end_it_may_finish_its_sentence_and_what_it_left_is_kept(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "def end(*_):\n"
        "    open(os.environ['MODELYARD_OUTPUT'] + '/checkpoint', 'w').write('7')\n"
        "    print('saved'); raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('begun'); time.sleep(60)"
    )
    process = start("run", tmp_path / "run", "--output", str(tmp_path / "out"), code=code)
    log = tmp_path / "out" / "log"
    eventually(lambda: log.exists() and log.read_text() == "begun\n", what="the log is there while it runs")
    eventually(lambda: status(tmp_path / "out").state is TaskState.running)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    found = status(tmp_path / "out")
    assert (process.returncode, found.state, found.reason) == (143, TaskState.failed, "Stopped")
    assert log.read_text() == "begun\nsaved\n"
    assert (tmp_path / "out" / "output" / "checkpoint").read_text() == "7"


def test_what_it_leaves_running_ends_with_it(tmp_path: Path) -> None:
    inner = "import time; time.sleep(600)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {inner!r}]).pid)"
    run(tmp_path / "run", "--output", str(tmp_path / "out"), code=code)
    left = int((tmp_path / "out" / "log").read_text())
    eventually(lambda: not _runs(left), timeout=10, what="its child is gone")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


def test_a_long_log_keeps_its_end(tmp_path: Path) -> None:
    code = "for n in range(20000): print('line', n)"
    run(tmp_path / "run", "--output", str(tmp_path / "out"), "--log-size", "50000", code=code)
    whole = (tmp_path / "out" / "log.1").read_text() + (tmp_path / "out" / "log").read_text()
    assert whole.endswith("line 19999\n")
    assert 50_000 < len(whole) < 250_000
    assert status(tmp_path / "out").lines[-1] == "line 19999"


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    code = f"""
import os
os.chdir(os.environ["MODELYARD_OUTPUT"])
folder = {str(tmp_path / "secrets")!r}
os.symlink(folder, "folder")
os.symlink(folder + "/key", "file")
os.remove("../log")
os.symlink(folder + "/key", "../log")
os.mkfifo("pipe")
open("plain", "w").write("here")
"""
    assert run(tmp_path / "run", "--output", str(tmp_path / "out"), code=code)[0] == 0
    assert [p.name for p in (tmp_path / "out" / "output").iterdir()] == ["plain"]
    assert not any(p.read_text() == "secret" for p in (tmp_path / "out").rglob("*") if p.is_file())


def test_results_that_cannot_be_delivered_are_a_failure(tmp_path: Path, s3: S3) -> None:
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        code = "import os; open(os.environ['MODELYARD_OUTPUT'] + '/big', 'wb').write(bytes(2_000_000))"
        returned, _ = run(tmp_path / "run", "--output", str(disk.path / "out"), code=code)
        found = status(disk.path / "out")
        assert (returned, found.state, found.reason) == (1, TaskState.failed, "UploadFailed")
        assert "No space left" in found.message
    wrong = s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    returned, said = run(tmp_path / "run2", "--output", "s3://runs/2", "--patience", "1", code="", **wrong)
    assert (returned, status(tmp_path / "run2").reason) == (1, "UploadFailed")
    assert "refuses access" in said


def test_a_command_that_fills_its_disk_has_failed_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2 * 1024 * 1024) as disk:
        code = "file = open('big', 'wb', buffering=0)\nwhile True: file.write(bytes(4096))"
        returned, _ = run(disk.path / "run", "--output", str(tmp_path / "out"), code=code)
        assert returned == 1
        assert "No space left" in status(tmp_path / "out").lines[-1]
        assert status(disk.path / "run") == status(tmp_path / "out")


def test_a_command_that_takes_its_results_away_left_none(tmp_path: Path) -> None:
    code = "import os; os.rmdir(os.environ['MODELYARD_OUTPUT'])"
    assert run(tmp_path / "run", "--output", str(tmp_path / "out"), code=code)[0] == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["log", "status.json"]


def test_a_store_that_comes_back_is_waited_for(s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("patience")
    s3.stop()
    process = start("run", tmp_path / "run", "--output", "s3://patience/1", code="print('hello')", **s3.environment)
    eventually(lambda: (tmp_path / "run" / "log").exists() and (tmp_path / "run" / "log").read_text() == "hello\n")
    s3.start()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert bytes(obstore.get(bucket, "1/log").bytes()) == b"hello\n"


@pytest.mark.parametrize("output", ["relative/path", "s3://"])
def test_a_place_that_is_none_is_refused_before_it_begins(tmp_path: Path, output: str) -> None:
    assert run(tmp_path / "run", "--output", output, code="print('begun')")[0] == 2
    assert not (tmp_path / "run").exists()


def test_beside_each_other_one_runs_and_one_delivers(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    courier = start("deliver", folder, "--output", str(tmp_path / "out"))
    runner = start("run", folder, "--tee", "--say", str(tmp_path / "said"), code=RESULT + "raise SystemExit(5)")
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 5
    assert output == f"working in {folder / 'work'}\n"
    assert courier.poll() is None, "in a pod it would be started again"
    courier.terminate()
    courier.communicate(timeout=60)
    assert courier.returncode == 0
    assert (tmp_path / "out" / "output" / "score.json").read_text() == "0.9"
    assert status(tmp_path / "out") == TaskStatus.from_json((tmp_path / "said").read_text())


def test_the_one_that_runs_fails_where_the_other_cannot_deliver(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    courier = start("deliver", tmp_path / "run", "--output", str(tmp_path / "file" / "out"))
    (tmp_path / "run").mkdir()
    assert run(tmp_path / "run", "--say", str(tmp_path / "said"), code="pass")[0] == 1
    courier.terminate()
    assert courier.communicate(timeout=30)
    assert courier.returncode == 1
    assert TaskStatus.from_json((tmp_path / "said").read_text()).reason == "UploadFailed"


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_the_one_that_delivers_speaks_for_one_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    courier = start("deliver", folder, "--output", str(tmp_path / "out"))
    runner = start("run", folder, code=RESULT + "import time; time.sleep(600)")
    eventually(lambda: (folder / "output" / "score.json").exists())
    eventually(lambda: catches(courier.pid, signal.SIGTERM), what="it knows what SIGTERM means")
    child = int(subprocess.check_output(["ps", "--ppid", str(runner.pid), "-o", "pid="], text=True))
    runner.kill()
    os.kill(child, signal.SIGKILL)
    runner.communicate(timeout=30)
    courier.send_signal(signal.SIGTERM)
    courier.communicate(timeout=60)
    found = status(tmp_path / "out")
    assert (courier.returncode, found.state, found.reason) == (0, TaskState.failed, "Killed")
    assert found.started
    assert (tmp_path / "out" / "output" / "score.json").read_text() == "0.9"


def test_one_that_is_started_again_does_not_deliver_again(tmp_path: Path) -> None:
    run(tmp_path / "run", "--output", str(tmp_path / "elsewhere"), code=RESULT)
    assert deliver_once(tmp_path / "run", tmp_path / "out") == 0
    (tmp_path / "out" / "log").unlink()
    assert deliver_once(tmp_path / "run", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "log").exists()


def deliver_once(folder: Path, output: Path) -> int:
    courier = start("deliver", folder, "--output", str(output), "--gone")
    courier.communicate(timeout=60)
    assert courier.returncode is not None
    return courier.returncode


def test_what_is_said_of_a_pod_fits(tmp_path: Path) -> None:
    code = "print('\\n'.join(['x' * 1000] * 50)); raise SystemExit(1)"
    run(tmp_path / "run", "--output", str(tmp_path / "out"), "--say", str(tmp_path / "said"), code=code)
    assert (tmp_path / "said").stat().st_size < 4096
    assert len(TaskStatus.from_json((tmp_path / "said").read_text()).lines) > 3
    assert len(status(tmp_path / "out").lines) == 20
