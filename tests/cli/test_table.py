"""The table of methods says what the modules say."""

import dataclasses
import inspect

import pytest

import intaglio
from intaglio import method_files, verbs
from intaglio.cli import main
from intaglio.commands.kit import dispatch
from intaglio.commands.kit.source_settings import Declared, Module, default_of, load, settings_of
from intaglio.verbs import VERBS

METHODS = {f"{verb} {name}": method for verb, entry in VERBS.items() for name, method in entry.methods.items()}


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_is_a_frozen_dataclass_with_one_call(name):
    command = load(VERBS[name].command)
    assert dataclasses.is_dataclass(command)
    assert command.__dataclass_params__.frozen
    assert callable(command.__call__)
    assert inspect.getdoc(command)
    assert bool(getattr(command, "__parameters__", ())) == bool(VERBS[name].methods)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_each_method_is_a_frozen_dataclass_that_says_what_it_is(method):
    assert method.fault == ""
    kind = load(method.target)
    assert kind.__name__ == method.target.partition(":")[2]
    assert kind.__module__ == method.target.partition(":")[0]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert len((kind.__doc__ or "").strip().splitlines()[0]) > 20
    assert len(method.summary) <= 95, "the first sentence of the docstring is the summary in lists of methods"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_settings_read_from_the_source_are_those_of_the_class(method):
    module, _, name = method.target.partition(":")
    declared = Module.read(module)[name]
    assert isinstance(declared, Declared), "the source is not understood, so that --help imports torch"
    twin, kind = settings_of(method.target), load(method.target)
    seen = {f.name: (_plain(f.type), default_of(f)) for f in dataclasses.fields(twin)}
    meant = {f.name: (f.type, default_of(f)) for f in dataclasses.fields(kind)}
    assert seen == meant
    assert (twin.__doc__ or "") == inspect.getdoc(kind)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_setting_is_documented(method):
    twin = settings_of(method.target)
    undocumented = [f.name for f in dataclasses.fields(twin) if not hasattr(f.type, "__metadata__")]
    assert undocumented == []


@pytest.mark.parametrize("verb", [verb for verb, entry in VERBS.items() if entry.methods])
def test_no_flag_of_a_verb_is_also_a_method_s(verb):
    inputs = {field.name for field in dataclasses.fields(load(VERBS[verb].command))}
    for method in VERBS[verb].methods.values():
        assert inputs.isdisjoint(field.name for field in dataclasses.fields(load(method.target)))


def test_the_public_names_are_there_and_every_method_is_among_them():
    for name in intaglio.homes():
        assert getattr(intaglio, name) is not None
    namespace: dict = {}
    exec("from intaglio import *", namespace)
    assert set(intaglio.homes()) <= set(namespace)
    for key, method in METHODS.items():
        module, _, name = method.target.partition(":")
        assert key.startswith("bench ") or intaglio.homes()[name] == module


def test_no_two_methods_have_one_class_name():
    names = [method.target.partition(":")[2] for method in METHODS.values()]
    assert len(names) == len(set(names))


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = intaglio.nothing


def _plain(annotation):
    return getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation


GOOD = "@dataclass(frozen=True)\nclass Good({base}):\n    {doc}\n"


@pytest.mark.parametrize(
    ("doc", "summary"),
    [
        ('"""Good: a method. More of it."""', "Good: a method"),
        ('"""Good: TarFlow 2.1 at once.\n\n    More."""', "Good: TarFlow 2.1 at once"),
        ('"""Good: late, i.e. not early. More."""', "Good: late, i.e. not early"),
        ('r"""Good: with \\alpha.\n\n    More."""', "Good: with \\alpha"),
    ],
)
def test_the_first_sentence_of_the_docstring_is_the_summary(tmp_path, monkeypatch, doc, summary):
    monkeypatch.setattr(method_files, "PACKAGE", tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "so_good.py").write_text(GOOD.format(base="Base", doc=doc))
    assert dict(verbs.Methods("room")) == {"so-good": verbs.Method("intaglio.room.so_good:Good", summary)}


def test_a_file_that_is_no_method_says_why_and_touches_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(method_files, "PACKAGE", tmp_path)
    (tmp_path / "room").mkdir()
    good = GOOD.format(base="Base", doc='"""Good: a method."""')
    (tmp_path / "room" / "good.py").write_text(good)
    (tmp_path / "room" / "double.py").write_text(good + "\n\n" + good.replace("Good", "Better"))
    (tmp_path / "room" / "empty.py").write_text("")
    found = verbs.Methods("room")
    assert found["good"].fault == ""
    assert "declares Good and Better" in found["double"].fault
    assert "declares none" in found["empty"].fault
    monkeypatch.setattr(dispatch, "VERBS", {"do": verbs.Verb("toy:Play", "do", found)})
    assert main(["do", "--help"]) == 0
    assert main(["do", "double"]) == 1
    assert "let the names of others begin with an underscore" in capsys.readouterr().err
