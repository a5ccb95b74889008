"""What brings back the state before a bulk, from its journal. Pure.

For each Space that the bulk changed the journal has the state before. From that each
write makes its inverse. The inverse is sent only where the Space still is as the bulk
left it, judged by the fields that the write set: else somebody has changed it since.

Worked example: a bulk paused three Spaces. One ran before, so its inverse is a restart.
One slept: a Space cannot be put to sleep, so there is none. One was paused already, so
there is nothing to bring back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from spaces_async._operations.state import shown
from spaces_async._operations.write import Edit, Series, Tailored, Write
from spaces_async._wire.calls import Done
from spaces_async.bulk._engine.space_run import steps_of
from spaces_async.bulk.operations import Function
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spaces_async._operations.write import Operation
    from spaces_async.bulk._engine.space_run import Step
    from spaces_async.bulk._journal.format import Entry

NOT_RECORDED: Final = "the state before was not recorded"
SO_BEFORE: Final = "was so before"


@define
class Undo:
    """What brings back the state before.

    Attributes:
        writes: What is done to each Space.
        expected: The fields that a Space must show for that, as the bulk left it.
        left_out: Why nothing is done to the other Spaces that the bulk changed.
    """

    writes: dict[str, Write[Any] | Series] = field(factory=dict[str, Any])
    expected: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    left_out: dict[str, str] = field(factory=dict[str, str])

    def operation(self, of: str) -> Tailored:
        """Return it as one operation.

        Args:
            of: The name of the operation that is undone.
        """
        writes = {
            repo_id: [
                [key, step.name, dict(step.parameters or {})]
                for key, step in steps_of(operation)
            ]
            for repo_id, operation in self.writes.items()
        }
        name = f"undo {of}"
        return Tailored(self.writes, name=name, made_of={"writes": writes})


def undo_of(operation: Operation[Any], entries: Mapping[str, Entry]) -> Undo:
    """Work out what brings back the state before a bulk.

    Args:
        operation: What the bulk did.
        entries: What its journal says of each Space.

    Raises:
        ConfigurationError: It was a function, which may have done anything.
    """
    if isinstance(operation, Function):
        raise ConfigurationError(
            f"{operation.name} is a function of yours: what undoes it is not known"
        )
    undo = Undo()
    for repo_id, entry in entries.items():
        if entry.changed:
            _add(undo, repo_id, operation.of(repo_id), entry.before or {})
    return undo


def _add(
    undo: Undo, repo_id: str, operation: Operation[Any], kept: Mapping[str, Any]
) -> None:
    inverses: list[tuple[str, Write[Any]]] = []
    expected: dict[str, Any] = {}
    reasons: list[str] = []
    for key, step in steps_of(operation):
        found = _inverse(step, key, kept)
        if isinstance(found, str):
            reasons.append(found)
            continue
        wanted, inverse = found
        inverses.append((key, inverse))
        expected |= wanted
    if not inverses:
        # A reason to look at comes before "was so before".
        reasons.sort(key=lambda reason: reason == SO_BEFORE)
        undo.left_out[repo_id] = reasons[0]
        return
    single = len(inverses) == 1
    undo.writes[repo_id] = inverses[0][1] if single else Series(tuple(inverses))
    undo.expected[repo_id] = expected


def _inverse(
    step: Step, key: str, kept: Mapping[str, Any]
) -> tuple[dict[str, Any], Write[Any]] | str:
    """Return what the step left and what undoes it; or why nothing does."""
    if step.inverse is None or step.snapshot is None:
        return _why_never(step)
    if key not in kept:
        return NOT_RECORDED
    try:
        state = step.snapshot.restore(kept[key])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "what the journal has of the state before cannot be read"
    made = step.make(state) if isinstance(step, Edit) else step
    if isinstance(made, Done):
        return SO_BEFORE
    wanted = {each.name: each.wanted for each in made.fields}
    before = shown(made.fields, state)
    if before.keys() == wanted.keys() and all(
        each.alike(before[each.name], each.wanted) for each in made.fields
    ):
        return SO_BEFORE
    inverse = step.inverse(state)
    return _why_not(wanted, before) if inverse is None else (wanted, inverse)


def _why_never(step: Step) -> str:
    if step.name in {"add_secret", "delete_secret"}:
        return "the value of a secret before cannot be read"
    if isinstance(step, Write) and step.removes_the_space:
        return "a deleted Space is gone"
    article = "" if "_" in step.name else "a "  # A restart, but add variable.
    return f"{article}{step.name.replace('_', ' ')} cannot be undone"


def _why_not(wanted: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    if before.get("stage") == "SLEEPING":
        return "cannot be put to sleep again"
    untold = [name.replace("_", " ") for name in wanted if name not in before]
    if untold:
        return f"the {' and '.join(untold)} before is not known"
    was = ", ".join(str(value) for value in before.values())
    return f"cannot be brought back to {was}"
