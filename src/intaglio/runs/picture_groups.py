"""Pictures worked on in groups over many steps, resumed exactly after a kill: states are stored, results recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.runs.cluster import joined
from intaglio.runs.fan_out import fan_out, workers_of_cluster
from intaglio.runs.picture_batches import parts_by_content
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.spread_groups import GroupPiece, GroupWorker, WorkedGroup, restored
from intaglio.runs.steps import StepState, in_steps, store_steps, stored_state, stored_steps
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

    Inside `on_cluster` each group is a piece of work there, and its state is stored when it is done.

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
    groups = _Groups.of(run, kind, key, images, work, batch)
    if joined() is not None:
        found = ((part, worked.results or ()) for part, worked in groups.spread(steps, label, 0, finish=True))
    else:
        ordered = group_states(run, kind, key, images, work, steps=steps, batch=batch, label=label)
        found = ((part, work.finish(group, state)) for part, group, state in ordered)
    for part, finished in found:
        for i, result in zip(part, finished, strict=True):
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
    groups = _Groups.of(run, kind, key, images, work, batch)
    if joined() is None:
        yield from groups.ordered(steps, label, since)
        return
    for part, worked in groups.spread(steps, label, since, finish=False):
        group = work.prepare(images[part])
        yield part, group, restored(work.start(group), worked.step, worked.tensors)


@dataclass(frozen=True, eq=False)
class _Groups:
    """The groups of a call, and how each is found among the run's states."""

    run: Run
    kind: str
    images: ImageSet
    work: GroupWork[Any, Any]
    parts: list[list[int]]
    matches: list[dict[str, Any]]

    @classmethod
    def of(cls, run: Run, kind: str, key: str, images: ImageSet, work: GroupWork[Any, Any], batch: int) -> "_Groups":
        parts = parts_by_content(images, batch)
        return cls(
            run, kind, images, work, parts, [{"key": key, "hashes": [images.hashes[i] for i in part]} for part in parts]
        )

    def ordered(self, steps: int, label: str, since: int) -> Iterator[tuple[Sequence[int], Any, Any]]:
        """The pictures' places, the group and its state after `steps`, worked on here one after the other."""
        done = self._begun(steps, since)
        with self.run.progress(len(self.parts) * steps, label, done) as progress:
            for place, part in enumerate(self.parts):
                group = self.work.prepare(self.images[part])
                before = self._before(place, steps, since)
                state = in_steps(
                    self.run,
                    _state_name(self.kind, place),
                    self.matches[place],
                    self.work.start(group),
                    partial(self.work.step, group),
                    steps=steps,
                    noted=partial(_show_and_log, self.run, self.kind, progress, self.work, before),
                )
                yield part, group, state

    def spread(
        self, steps: int, label: str, since: int, *, finish: bool
    ) -> Iterator[tuple[Sequence[int], WorkedGroup]]:
        """The pictures' places, and what a worker of the cluster gave back, in the order of the groups."""
        done, known, rows = self._begun(steps, since), dict[int, WorkedGroup](), 0
        pieces = [
            GroupPiece(place, part, *stored_state(self.run, _state_name(self.kind, place), self.matches[place]))
            for place, part in enumerate(self.parts)
        ]
        worker = GroupWorker(self.images, self.work, steps, finish)
        with self.run.progress(len(self.parts) * steps, label, done) as progress:
            for piece, worked in fan_out(worker, pieces, workers_of_cluster()):
                name = _state_name(self.kind, piece.place)
                store_steps(self.run, name, self.matches[piece.place], worked.step, worked.tensors)
                progress.advance(steps - max(piece.step, since))
                known[piece.place] = worked
                while rows in known:  # logged in the order in which one process would
                    for _, after, numbers in known[rows].shown:
                        self.run.log(self.kind, self._before(rows, steps, since) + after, **numbers)
                    yield self.parts[rows], known.pop(rows)
                    rows += 1

    def _begun(self, steps: int, since: int) -> int:
        """Steps done already; the log is cut back to them."""
        stored = [
            stored_steps(self.run, _state_name(self.kind, place), match) for place, match in enumerate(self.matches)
        ]
        done = sum(min(max(one, since), steps) for one in stored)
        # Groups are worked on one after the other and each row carries its step: those past the last stored one go.
        self.run.rewind(self.kind, done)
        return done

    def _before(self, place: int, steps: int, since: int) -> int:
        """The number of the step before the first of a group, in the log."""
        return since * (len(self.parts) - 1 - place) + place * steps


def _show_and_log(
    run: Run, kind: str, progress: Progress, work: GroupWork[Any, Any], first: int, before: StepState, after: StepState
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
