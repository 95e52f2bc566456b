"""Asking is instant: neither the package nor any help imports torch."""

import resource
import subprocess
import sys

import pytest

from intaglio.verbs import VERBS

HEAVY = ("torch", "diffusers", "transformers", "numpy", "scipy", "pandas", "networkx", "PIL", "safetensors")
LEAVES = [
    [verb, *([method] if method else []), "--help"] for verb, entry in VERBS.items() for method in entry.methods or [""]
]


def output_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(code: str) -> set[str]:
    loaded = output_of(
        f"{code}\nimport sys\nsys.stdout.write('\\n' + ' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    )
    return set(loaded.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import intaglio; dir(intaglio)",
        "from intaglio.cli import main; main([])",
        "from intaglio.cli import main; main(['--version'])",
        *(f"from intaglio.cli import main; main(['{verb}', '--help'])" for verb, e in VERBS.items() if e.methods),
    ],
)
def test_the_package_and_the_tables_import_nothing_but_the_standard_library(code):
    assert imported_by(code).isdisjoint({*HEAVY, "jaxtyping", "beartype"})


def test_no_leaf_help_and_no_typo_imports_torch():
    lines = [f"assert main({leaf}) == 0" for leaf in LEAVES]
    typos = [f"assert main({[*leaf[:-1], '--no-such-flag', '1']}) == 2" for leaf in LEAVES]
    loaded = imported_by("\n".join(["from intaglio.cli import main", *lines, *typos]))
    assert loaded.isdisjoint({"torch", "diffusers", "transformers", "pandas"})


def test_the_table_of_verbs_comes_at_once():
    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output_of(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    own = min(seconds("from intaglio.cli import main; main(['--help'])") for _ in range(5))
    bare = min(seconds("pass") for _ in range(5))
    # Of the processor, and in what Python itself takes here: neither a busy nor a slow machine is to fail.
    assert own - bare < 16 * bare
