"""The pictures of an audit by role: questioned, known holdouts, controls."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from intaglio.audit.membership.result import Role
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class AuditPictures:
    """The pictures of an audit as one set, with the role of each.

    All go through one call of each method. A picture's noise depends on its own content alone, so sharing a call with
    others changes nothing about any of them.
    """

    images: ImageSet
    """Each name has its role before it, so that names stay unique."""
    names: tuple[str, ...]
    """The pictures' own names."""
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, questioned: ImageSet, controls: ImageSet, holdouts: ImageSet | None = None) -> "AuditPictures":
        """Join the sets; of equal controls the first is taken alone, since the rate counts different pictures.

        Raises `BadInput` where a control is also a questioned picture or a holdout.
        """
        controls = distinct(controls)
        parts: list[tuple[Role, ImageSet]] = [("questioned", questioned), ("controls", controls)]
        if holdouts is not None:
            parts.insert(1, ("holdouts", holdouts))
        refuse_shared(parts)
        sizes = {tuple(part.pixels.shape[1:]) for _, part in parts}
        if len(sizes) > 1:
            raise BadInput(f"questioned pictures and controls must have one size, not {sorted(sizes)}")
        images = ImageSet(
            torch.cat([part.pixels for _, part in parts]),
            tuple(f"{role}/{name}" for role, part in parts for name in part.names),
            sum((part.captions for _, part in parts), ()),
            sum((part.repeats for _, part in parts), ()),
            sum((part.hashes for _, part in parts), ()),
        )
        names = tuple(name for _, part in parts for name in part.names)
        return cls(images, names, tuple(role for role, part in parts for _ in range(len(part))))

    def of_role(self, role: Role) -> list[int]:
        """Indices of the pictures with this role."""
        return [i for i, own in enumerate(self.roles) if own == role]

    def shown_name(self, index: int) -> str:
        """The name to show: a questioned picture's own; others have their role before it."""
        return self.names[index] if self.roles[index] == "questioned" else self.images.names[index]


def refuse_shared(parts: Sequence[tuple[Role, ImageSet]]) -> None:
    """Raises `BadInput` naming the pictures that stand in two roles: each must be in one."""
    for i, (role, part) in enumerate(parts):
        for other_role, other in parts[i + 1 :]:
            where = dict(zip(other.hashes, other.names, strict=True))
            if both := [f"{n} = {where[h]}" for n, h in zip(part.names, part.hashes, strict=True) if h in where]:
                raise BadInput(
                    f"the same pictures stand among the {role} and the {other_role} ({', '.join(both)}); a control "
                    "must be a picture that cannot have been in the set, so take them out of one of the two"
                )


def distinct(images: ImageSet) -> ImageSet:
    """The first of each group of pictures with the same content."""
    first: dict[str, int] = {}
    for k, content in enumerate(images.hashes):
        first.setdefault(content, k)
    return images if len(first) == len(images) else images[list(first.values())]


def likenesses(questioned: ImageSet, controls: ImageSet, holdouts: ImageSet | None = None) -> list[str]:
    """Warnings of pictures that look the same, within the questioned set and across roles."""
    found = []
    if pairs := questioned.duplicates():
        found.append(f"questioned pictures that look the same count as several: {_pairs(pairs)}")
    others = {"control": controls} | ({} if holdouts is None else {"holdout": holdouts})
    for role, other in others.items():
        if pairs := questioned.duplicates(other):
            found.append(f"a questioned picture and a {role} look the same, which hides membership: {_pairs(pairs)}")
    different = distinct(controls)
    if (left := len(different)) < len(controls):
        found.append(
            f"{len(controls)} controls, of which {left} {'is' if left == 1 else 'are'} different: equal pictures count once"
        )
    if pairs := different.duplicates():
        found.append(f"controls that look the same count as fewer than they are: {_pairs(pairs)}")
    return found


def _pairs(pairs: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{one} and {two}" for one, two in pairs[:5])
    return shown + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")
