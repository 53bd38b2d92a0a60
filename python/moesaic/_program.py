"""The program as a function."""
import json as _json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

_WITHOUT_JSON = {"algorithms", "gateway", "emulate"}


class MoesaicError(Exception):
    """The program refused (exit code 2: usage or input) or could not (3: environment); its message says what to do."""

    def __init__(self, exit_code: int, message: str):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Result:
    """What a command answered. False where the answer is no (exit code 1): a limit missed, a plan that no longer fits."""

    exit_code: int
    json: Optional[dict]  #: what --json writes (docs/schemas); None for commands without one
    text: str  #: what people read
    notes: str  #: progress and notes, the program's stderr

    def __bool__(self) -> bool:
        return self.exit_code == 0


def _program() -> str:
    named = os.environ.get("MOESAIC")
    found = named or shutil.which("moesaic")
    if not found:
        raise MoesaicError(3, "moesaic is not on the PATH; install it (cmake --install build/release) or name it in $MOESAIC.")
    return found


def _flags(options: dict) -> list:
    flags = []
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            flags.append(flag)
        elif isinstance(value, (list, tuple)):
            flags.append(f"{flag}={','.join(str(one) for one in value)}")
        else:
            flags.append(f"{flag}={value}")
    return flags


def run(command: str, *arguments: Any, **options: Any) -> Result:
    """moesaic COMMAND ARGUMENTS --OPTIONS. `gpus_per_node=8` is --gpus-per-node 8, True a flag, a list its items with commas;
    a name that is a word of Python takes an underscore behind it. The program is $MOESAIC, or moesaic on the PATH.

    Raises MoesaicError where the program refuses or cannot; an answer of "no" is a Result that is False.
    """
    line = [_program(), command, *[str(one) for one in arguments], *_flags(options)]
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        answer = Path(folder) / "answer.json"
        if command not in _WITHOUT_JSON and "json" not in options:
            line.append(f"--json={answer}")
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode not in (0, 1):
            raise MoesaicError(done.returncode, done.stderr.strip() or f"{line[0]} ended with {done.returncode}")
        told = _json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None
    return Result(done.returncode, told, done.stdout, done.stderr)
