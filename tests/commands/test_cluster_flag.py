"""--cluster: checked before any work, and left out where a stored command is run again."""

import pytest

from intaglio import cli
from intaglio.bench.authenticate.bench import AuthenticateBench
from intaglio.commands.bench import Bench
from intaglio.commands.extract import Extract
from intaglio.commands.kit.resumed import confined


def test_a_resumed_run_asks_no_other_machine(tmp_path, capsys):
    """The words of a stranger's run would have the models sent to a machine of the stranger's."""
    command = Extract(method=None, suspect=tmp_path, authority="mine", cluster="ray://elsewhere:10001")
    assert confined(command, tmp_path / "run").cluster is None
    bench = confined(Bench(AuthenticateBench(cluster="elsewhere:6379")), tmp_path / "run")
    assert bench.method.cluster is None
    assert capsys.readouterr().err.count("--cluster is left out: a resumed run asks no other machine") == 2


@pytest.mark.parametrize("verb", ["extract direct --authority mine", "authenticate pia --images . --controls ."])
def test_what_is_no_address_is_refused(verb, capsys):
    assert cli.main([*verb.split(), "--suspect", ".", "--cluster", "elsewhere"]) == 2
    assert "cluster must be ray" in capsys.readouterr().err


def test_one_worker_and_a_cluster_contradict_each_other(tmp_path):
    with pytest.raises(ValueError, match="workers 1 is this very process; leave it out, or leave out cluster"):
        Extract(method=None, suspect=tmp_path, authority="mine", cluster="ray", workers=1)
