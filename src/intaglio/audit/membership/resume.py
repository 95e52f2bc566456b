"""Audits resumed exactly after a kill: pictures in batches, groups of pictures over many steps, and their records."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import AuditInputs
from intaglio.images.image_set import ImageSet
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

SAVE_EVERY_S = 20.0
"""Seconds between two stored states; a killed run repeats at most that much, with the same result."""


def work_key(method: Any, inputs: AuditInputs, without: Iterable[str] = ()) -> str:
    """sha256 over settings, weights and prompt; settings in `without` do not change what is stored."""
    settings = {name: value for name, value in asdict(method).items() if name not in without}
    autoencoder = inputs.reference.part_fingerprint("autoencoder")
    base = "" if inputs.base is None else inputs.base.fingerprint
    parts = (method.name, repr(sorted(settings.items())), inputs.suspect.fingerprint, autoencoder, base, inputs.prompt)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def content_order(images: ImageSet) -> list[int]:
    """The places of the pictures, sorted by content.

    Work that is cut in this order depends neither on the order of the files nor on a kill: the same pictures go
    through a network together, and so every rounding is the same.
    """
    return sorted(range(len(images)), key=lambda i: (images.hashes[i], images.names[i]))


def in_batches(
    run: Run, kind: str, key: str, images: ImageSet, score: Callable[[ImageSet], Mapping[str, Any]], *, batch: int = 1
) -> dict[str, Float[Tensor, "n"]]:
    """The numbers that `score` gives for each picture, in batches by `content_order`, each recorded when it is known.

    Args:
        run: where the records of an earlier, killed call are found too.
        kind: of the records, and the label of the progress.
        key: `work_key`; a record made with another one is made again.
        images: the pictures.
        score: from a batch of pictures to numbers by name, [n] each, the same names for every batch.
        batch: pictures in a call of `score`.
    """
    batches = _parts(images, batch)
    known = _recorded(run, kind, key, images)
    left = [part for part in batches if not all(i in known for i in part)]
    with run.progress(len(batches), kind, len(batches) - len(left)) as progress:
        for part in left:
            found = score(images[part])
            for row, i in enumerate(part):
                known[i] = {name: float(numbers[row]) for name, numbers in found.items()}
                record = {"key": key, "hash": images.hashes[i], "values": known[i]}
                run.record(kind, images.names[i], record)
            progress.advance()
    return {name: torch.tensor([known[i][name] for i in range(len(images))]) for name in known[0]}


def _parts(images: ImageSet, size: int) -> list[list[int]]:
    order = content_order(images)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _recorded(run: Run, kind: str, key: str, images: ImageSet) -> dict[int, dict[str, float]]:
    """The numbers recorded for each picture, by its place, where they are of this very work."""
    records, known = run.recorded(kind), dict[int, dict[str, float]]()
    for i, (name, content) in enumerate(zip(images.names, images.hashes, strict=True)):
        found = records.get(name, {})
        if (found.get("key"), found.get("hash")) == (key, content):
            known[i] = found["values"]
    return known


Group = TypeVar("Group")
State = TypeVar("State", bound="StepState")


@dataclass(frozen=True, eq=False)
class StepState:
    """The state of work in steps; a method's own class adds tensors as fields.

    A step is a pure function of the state before it, so that a stored state is a place to go on from exactly.
    """

    step: int
    """Steps done."""

    def tensors(self) -> dict[str, Tensor]:
        """All that is stored besides the step, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "step"}

    def restored(self: State, step: int, tensors: Mapping[str, Tensor]) -> State:
        """The state with this step and these `tensors`."""
        return replace(self, step=step, **tensors)


@dataclass(frozen=True)
class PictureResult:
    """The result of one picture."""

    signals: dict[str, float]
    pictures: dict[str, Float[Tensor, "3 h w"]]
    """In [0, 1], by kind."""
    diagnostics: dict[str, Any]
    """Plain values for JSON."""
    failure: str
    """Why there is no score; empty where there is one."""

    def record(self) -> dict[str, Any]:
        """All but the pictures, as plain values."""
        return without_nan({**self.signals, **self.diagnostics, "failure": self.failure})


@runtime_checkable
class GroupWork(Protocol[Group, State]):
    """A method whose pictures go through its steps in groups, as `in_groups` calls it."""

    def prepare(self, images: ImageSet) -> Group:
        """The constants of a group's steps; computed anew when a killed run goes on."""
        ...

    def start(self, group: Group) -> State:
        """The state before the first step."""
        ...

    def step(self, group: Group, state: State) -> State:
        """The state after one more step, or after the last one where no picture is left to work on."""
        ...

    def shown(self, state: State) -> Mapping[str, float]:
        """Numbers of the last step, for the progress and the log."""
        ...

    def finish(self, group: Group, state: State) -> Sequence[PictureResult]:
        """One result a picture, from the state after the last step."""
        ...


def in_groups(
    run: Run,
    kind: str,
    key: str,
    images: ImageSet,
    work: GroupWork[Group, State],
    *,
    steps: int,
    batch: int,
    label: str,
) -> list[PictureResult]:
    """One result a picture, in groups by `content_order`; states are stored between steps, results are recorded.

    Args:
        run: where the states of an earlier, killed call are found too; `drop_groups` deletes them.
        kind: of states, log and records.
        key: `work_key`; a state stored with another one is not taken up.
        images: the pictures.
        work: what is done with a group.
        steps: of each group.
        batch: pictures in a group.
        label: of the progress, which counts the steps of all groups.
    """
    parts, results = _parts(images, batch), dict[int, PictureResult]()
    names = [_state_name(kind, place) for place in range(len(parts))]
    matches = [{"key": key, "hashes": [images.hashes[i] for i in part]} for part in parts]
    done = sum(stored_steps(run, name, match) for name, match in zip(names, matches, strict=True))
    # Groups are worked on one after the other and each row carries its step: those past the last stored one go.
    run.rewind(kind, done)
    with run.progress(len(parts) * steps, label, done) as progress:
        for place, part in enumerate(parts):
            group = work.prepare(images[part])
            state = in_steps(
                run,
                names[place],
                matches[place],
                work.start(group),
                partial(work.step, group),
                steps=steps,
                noted=partial(_show_and_log, run, kind, progress, work, place * steps),
            )
            for i, result in zip(part, work.finish(group, state), strict=True):
                run.record(kind, images.names[i], result.record())
                results[i] = result
    return [results[i] for i in range(len(images))]


def _show_and_log(
    run: Run, kind: str, progress: Progress, work: GroupWork[Any, State], first: int, before: State, after: State
) -> None:
    """The numbers of a step, which is logged as the one after `first` steps of the groups before."""
    numbers = work.shown(after)
    progress.advance(after.step - before.step, **numbers)
    run.log(kind, first + after.step, **numbers)


def drop_groups(run: Run, kind: str, pictures: int, batch: int) -> None:
    """Drops the states of `in_groups` on so many pictures."""
    for place in range(-(-pictures // batch)):
        run.drop_state(_state_name(kind, place))


def _state_name(kind: str, place: int) -> str:
    return f"{kind}-{place}"


def in_steps(
    run: Run,
    name: str,
    match: Mapping[str, Any],
    start: State,
    step: Callable[[State], State],
    *,
    steps: int,
    noted: Callable[[State, State], None],
) -> State:
    """The state after all steps, from the stored one on, where there is one.

    Args:
        run: where states are stored, at most every `SAVE_EVERY_S` seconds and at the end, however it ends.
        name: of the stored state.
        match: plain values that identify the work; a state stored with others is not taken up.
        start: the state before the first step; stored tensors are restored to the devices of its own.
        step: from a state to the next one.
        steps: in all.
        noted: is given the states before and after each step.
    """
    done, tensors = _stored(run, name, match)
    places = {key: tensor.device for key, tensor in start.tensors().items()}
    state = start.restored(done, {key: tensor.to(places[key]) for key, tensor in tensors.items()}) if done else start
    try:
        while state.step < steps:
            before, state = state, step(state)
            noted(before, state)
            _store(run, name, match, state, SAVE_EVERY_S)
    finally:
        # Reached by Ctrl-C too; a state is only ever replaced whole, so it is sound at any moment.
        _store(run, name, match, state, 0.0)
    return state


def stored_steps(run: Run, name: str, match: Mapping[str, Any]) -> int:
    """The steps of `in_steps` that are stored, 0 where none are."""
    return _stored(run, name, match)[0]


def _store(run: Run, name: str, match: Mapping[str, Any], state: StepState, every_s: float) -> None:
    run.save_state(name, state.tensors(), {**match, "step": state.step}, every_s)


def _stored(run: Run, name: str, match: Mapping[str, Any]) -> tuple[int, dict[str, Tensor]]:
    """The steps and tensors stored for this very work; 0 and none where there are none."""
    found = run.load_state(name)
    if found is None or any(found[1].get(key) != value for key, value in match.items()):
        return 0, {}
    return found[1].whole("step"), found[0]
