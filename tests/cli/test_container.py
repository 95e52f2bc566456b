"""The container and the wheel: what is told to build them is sound, and what is built works on its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    done = subprocess.run([str(HADOLINT), "--no-color", str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_nobody_is_root():
    lines = [line.split() for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for word, *names in lines if word == "COPY" for name in names[:-1] if "/" not in name}
    copied -= {"--from=wheel"}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    (user,) = (words for word, *words in lines if word == "USER")
    assert int(user[0]) > 0
    assert ["ENTRYPOINT", '["intaglio"]'] in lines


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(tmp_path):
    wheels, packages, folder = (tmp_path / name for name in ("wheels", "packages", "folder"))
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    (wheel,) = wheels.glob("intaglio-*.whl")
    assert wheel.stat().st_size < 60e6
    subprocess.run([*pip, "install", "--no-deps", "--target", str(packages), str(wheel)], check=True)
    about = {**os.environ, "PYTHONPATH": str(packages)}
    asked = "import intaglio; from pathlib import Path; assert Path(intaglio.__file__).is_relative_to"
    subprocess.run([sys.executable, "-c", f"{asked}({str(packages)!r})"], check=True, cwd=folder, env=about)
    words = [sys.executable, "-m", "intaglio", "demo", "--quick", "--quiet"]
    done = subprocess.run(words, cwd=folder, env=about, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "members   10 of 10 right" in done.stdout


@pytest.mark.slow
def test_the_container_is_built_where_a_builder_is():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no builder of containers is at work here")
    subprocess.run([docker, "build", "-q", "-t", "intaglio-test", str(ROOT)], check=True)
    told = subprocess.run([docker, "run", "--rm", "intaglio-test", "--version"], capture_output=True, text=True)
    assert told.stdout.startswith("intaglio ")
