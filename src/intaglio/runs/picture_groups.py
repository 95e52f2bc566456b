"""Pictures worked on in groups over many steps, resumed exactly after a kill: states are stored, results recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import parts_by_content
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.runs.tables import without_nan

Group = TypeVar("Group")
State = TypeVar("State", bound=StepState)


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
        key: identity of the work; a state stored with another one is not taken up.
        images: the pictures.
        work: what is done with a group.
        steps: of each group.
        batch: pictures in a group.
        label: of the progress, which counts the steps of all groups.
    """
    results = dict[int, PictureResult]()
    for part, group, state in group_states(run, kind, key, images, work, steps=steps, batch=batch, label=label):
        for i, result in zip(part, work.finish(group, state), strict=True):
            run.record(kind, images.names[i], result.record())
            results[i] = result
    return [results[i] for i in range(len(images))]


def group_states(
    run: Run,
    kind: str,
    key: str,
    images: ImageSet,
    work: GroupWork[Group, State],
    *,
    steps: int,
    batch: int,
    label: str,
    since: int = 0,
) -> Iterator[tuple[Sequence[int], Group, State]]:
    """The pictures' places, the group and its state after `steps`, a group at a time as soon as it is there.

    Work that pauses for all groups calls this several times with growing `steps`; `work.start` then gives the state
    where the last call ended, at step `since`, and a stored state beyond it is taken up. Other arguments are those of
    `in_groups`.
    """
    parts = parts_by_content(images, batch)
    names = [_state_name(kind, place) for place in range(len(parts))]
    matches = [{"key": key, "hashes": [images.hashes[i] for i in part]} for part in parts]
    stored = [stored_steps(run, name, match) for name, match in zip(names, matches, strict=True)]
    done = sum(min(max(one, since), steps) for one in stored)
    # Groups are worked on one after the other and each row carries its step: those past the last stored one go.
    run.rewind(kind, done)
    with run.progress(len(parts) * steps, label, done) as progress:
        for place, part in enumerate(parts):
            group = work.prepare(images[part])
            before = since * (len(parts) - 1 - place) + place * steps
            state = in_steps(
                run,
                names[place],
                matches[place],
                work.start(group),
                partial(work.step, group),
                steps=steps,
                noted=partial(_show_and_log, run, kind, progress, work, before),
            )
            yield part, group, state


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
