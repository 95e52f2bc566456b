"""Make the checkout's own virtual environment, or leave it alone where it is already what is asked for.

usage: python3.11 tools/setup.py [GROUP ...]      groups: test, lint, recipes (see pyproject.toml); none: the runtime

Only the standard library is used. A mark inside .venv says what is installed and for which pins; it is taken away
before anything changes and written when all is done, so that an interrupted installation is never taken for a whole
one. Without a mark, for a checkout that was moved or copied, or when its Python is gone, .venv is made anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
MARK = VENV / "intaglio.json"
PINS = ROOT / "constraints.txt"


def wanted() -> str:
    """A digest of all that decides what is installed; settings of tools in pyproject.toml are not part of it."""
    import tomllib  # not at the top: main says it better where it is missing

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [project["project"], project["build-system"], PINS.read_text(encoding="utf-8")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def installed() -> dict:
    """The mark; empty where the environment cannot be trusted."""
    try:
        mark = json.loads(MARK.read_text(encoding="utf-8"))
        subprocess.run([VENV / "bin" / "python", "-c", ""], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}
    return mark if mark.get("root") == str(ROOT) else {}


def install(groups: set[str], mark: dict, pins: str) -> None:
    """Bring the environment to these groups, and say so in the mark once it is true."""
    MARK.unlink(missing_ok=True)
    if not mark:
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    package = f"{ROOT}[{','.join(sorted(groups))}]" if groups else str(ROOT)
    # The two variables reach the environment that pip builds the package in, which takes no -c of its own.
    environment = os.environ | {"PIP_CONSTRAINT": str(PINS), "PIP_BUILD_CONSTRAINT": str(PINS)}
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "-c", PINS, "-e", package], check=True, env=environment)
    partial = MARK.with_suffix(".partial")
    partial.write_text(json.dumps({"root": str(ROOT), "pins": pins, "groups": sorted(groups)}), encoding="utf-8")
    partial.replace(MARK)


def main(groups: set[str]) -> str | None:
    """Do what is left to do; a sentence when it cannot be done."""
    if sys.version_info < (3, 11):  # noqa: UP036 -- this file also runs where the package cannot
        found = sys.version.split()[0]
        return f"Intaglio needs Python 3.11 or newer, and this is {found}: make PYTHON=/path/to/python3.11"
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return "this Python cannot make virtual environments; install its venv package (python3.11-venv on Debian)"
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark, pins = installed(), wanted()
        have = set(mark.get("groups", ()))
        if mark.get("pins") == pins and groups <= have:
            return None
        sys.stdout.write("Setting up .venv, once; torch is a large download.\n")
        sys.stdout.flush()
        try:
            install(groups | have, mark, pins)
        except KeyboardInterrupt:
            return "interrupted; the same command sets up .venv anew"
        except (OSError, subprocess.CalledProcessError) as error:
            return f"setting up .venv failed ({error}); mend the cause and run the same command again"
    return None


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
