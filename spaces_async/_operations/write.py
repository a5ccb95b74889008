"""What a write is: one description, from which all its users are fed.

A `Write` says everything about one kind of write but the Space that it goes to: the
request, what proves that it took effect, whether it may be repeated, what makes it
needless, what undoes it. From it come the single call, the bulk operation, the journal's
name and parameters, the dry run, and the shell's command.

Two more forms are made of writes. An `Edit` reads a Space's state and makes the write
from it, as adding one volume to a list does. A `Series` is several writes for one Space,
as several keys are.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from itertools import zip_longest
from types import NoneType
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlencode

from attrs import Factory, evolve, field, frozen

from spaces_async import _validate
from spaces_async._operations.state import Field, Snapshot
from spaces_async._redacted import STARS, Redacted
from spaces_async._wire.calls import (
    Action,
    Call,
    Done,
    Evidence,
    Finding,
    OnLost,
    TooEarly,
    Verdict,
    nothing,
)
from spaces_async._wire.converter import dump_json
from spaces_async.errors import ConfigurationError, SpacesError
from spaces_async.models import Volume
from spaces_async.records import KeyOutcome

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

Body = Mapping[str, Any] | Callable[[str], Mapping[str, Any]]


@frozen(kw_only=True)
class Operation(Generic[T]):
    """Something to do to a Space, or to each Space of a bulk.

    Attributes:
        name: What reports and journals call it, such as "set_replicas".
        hidden: Parameters whose values are never written down.
        made_of: `parameters`, or a function that returns them.
    """

    name: str = ""
    hidden: tuple[str, ...] = ()
    made_of: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = field(
        default=None, eq=False, repr=False
    )

    @property
    def parameters(self) -> Mapping[str, Any] | None:
        """What it was made of, as JSON, of hidden parameters only the keys.

        None if it cannot be made of that again.
        """
        return self.made_of() if callable(self.made_of) else self.made_of

    @property
    def in_container(self) -> bool:
        """Whether it is about the container, which a static Space does not have."""
        return False

    def of(self, repo_id: str) -> Operation[T]:  # noqa: ARG002  (see `Tailored`)
        """Return what is done to one Space."""
        return self


@frozen
class RequestPreview:
    """A request as it would be sent, with stars in place of secret values.

    Attributes:
        method: HTTP method.
        path: Path and query.
        body: The JSON; None if there is no body.
    """

    method: str
    path: str
    body: Any = None

    def __str__(self) -> str:
        body = "" if self.body is None else json.dumps(self.body, ensure_ascii=False)
        return f"{self.method} {self.path} {body}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"method": self.method, "path": self.path, "body": self.body}


def _action_of(write: Write[Any]) -> Action:
    return Action(write.name, write.method, write.on_lost)


def _bodyless_of(write: Write[Any]) -> Done[Any] | None:
    if write.empty is None and write.decode is nothing:
        return Done(None)
    return write.empty


@frozen
class Write(Operation[T]):
    """One write, complete but for the Space.

    Attributes:
        method: HTTP method.
        path: Path below the Space, such as "restart".
        decode: Makes the result of the response's body.
        segments: The whole path below `/api`, in place of one below the Space.
        makes_a_space: Whether it is about no Space that exists.
        removes_the_space: Whether the Space and all its content are gone afterwards.
        query: Pairs of the query.
        body: The JSON, or a function that makes it from the Space's id.
        boxed: Parts of the body that must not be shown.
        on_lost: What may be done when the response is lost.
        evidence: What state proves that it took effect; None: none does.
        absent: The result where the Hub says that the Space does not exist; None if
            that is an error.
        empty: The result where the status of the response says it all; None is None
            for a write that decodes nothing, and else that the body matters.
        stamp: See `Call`.
        refine: Makes a more telling error of an error response.
        ineffective: See `Call`.
        needs_container: Whether a static Space cannot have it.
        needs_plan: What of it the Hub grants with PRO or Team only, such as
            "protected"; None if it grants it to all.
        refused_if_already: Whether the Hub refuses it where `evidence.already`, so
            that a bulk reads the state first.
        advice: What to tell the user about a result, after the Space's id; None or no
            text where there is nothing to tell.
        inverse: Makes the write that brings the state before back, given that state;
            None where there is none.
        fields: What it sets, as the states show it that `evidence` reads.
        snapshot: How such a state is kept in a journal; None where it is of no use.
        restarts: Whether a Space that runs is restarted by it.
        action: What kind of call it is.
        bodyless: The result where the status of the response says it all.
    """

    method: str
    path: str
    decode: Callable[[bytes], T] = field(kw_only=True)
    segments: tuple[str, ...] | None = field(default=None, kw_only=True)
    makes_a_space: bool = field(default=False, kw_only=True)
    removes_the_space: bool = field(default=False, kw_only=True)
    query: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    body: Body | None = field(default=None, kw_only=True)
    boxed: Mapping[str, Redacted[Any] | None] = field(
        factory=dict[str, "Redacted[Any] | None"], kw_only=True
    )
    on_lost: OnLost = field(default=OnLost.REPEAT, kw_only=True)
    evidence: Evidence[Any, T] | None = field(default=None, kw_only=True)
    absent: Done[T] | None = field(default=None, kw_only=True)
    empty: Done[T] | None = field(default=None, kw_only=True)
    stamp: str | None = field(default=None, kw_only=True)
    refine: Callable[[SpacesError], SpacesError] | None = field(
        default=None, kw_only=True
    )
    ineffective: Callable[[T], str | None] | None = field(default=None, kw_only=True)
    needs_container: bool = field(default=False, kw_only=True)
    needs_plan: str | None = field(default=None, kw_only=True)
    refused_if_already: bool = field(default=False, kw_only=True)
    advice: Callable[[T], str | None] | None = field(default=None, kw_only=True)
    inverse: Callable[[Any], Write[Any] | None] | None = field(
        default=None, kw_only=True
    )
    fields: tuple[Field[Any], ...] = field(default=(), kw_only=True)
    snapshot: Snapshot[Any] | None = field(default=None, kw_only=True)
    restarts: bool = field(default=False, kw_only=True)
    # The same for each Space, so they are not made again for each.
    action: Action = field(
        default=Factory(_action_of, takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )
    bodyless: Done[T] | None = field(
        default=Factory(_bodyless_of, takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )

    @property
    def in_container(self) -> bool:
        """Whether it is about the container, which a static Space does not have."""
        return self.needs_container

    def to(self, repo_id: str | None) -> Call[T]:
        """Make the call for one Space.

        Args:
            repo_id: "owner/name"; None for a write that is about none yet.

        Raises:
            ConfigurationError: The id is malformed.
        """
        return Call(
            action=self.action,
            segments=self._segments(repo_id),
            query=self.query,
            body=None if self.body is None else self._body(repo_id),
            secrets=secrets_in(self.boxed.values()) if self.boxed else (),
            decode=self.decode,
            repo_id=repo_id,
            evidence=self.evidence,
            absent=self.absent,
            bodyless=self.bodyless,
            stamp=self.stamp,
            refine=self.refine,
            ineffective=self.ineffective,
        )

    def _segments(self, repo_id: str | None) -> tuple[str, ...]:
        if self.makes_a_space and self.segments is not None:
            return self.segments
        owner, name = _validate.repo_id(repo_id)
        return self.segments or ("spaces", owner, name, self.path)

    def _open_body(self, repo_id: str | None) -> dict[str, Any] | None:
        body = self.body(repo_id or "") if callable(self.body) else self.body
        return None if body is None else dict(body)

    def _body(self, repo_id: str | None) -> Redacted[bytes] | None:
        shown = self._open_body(repo_id)
        if shown is None:
            return None
        boxed = {k: b for k, b in self.boxed.items() if b is not None}
        try:
            return Redacted(
                dump_json(shown | {k: b.reveal() for k, b in boxed.items()})
            )
        except BaseException as error:  # noqa: BLE001  (it is raised again)
            # It was interrupted. The frames below hold the secrets.
            raise error.with_traceback(None) from None

    def warn(self, repo_id: str, value: T, *, stacklevel: int = 2) -> None:
        """Warn the user about a result, where there is something to tell."""
        text = None if self.advice is None else self.advice(value)
        if text:
            warnings.warn(f"{repo_id} {text}", UserWarning, stacklevel=stacklevel + 1)

    def preview(self, repo_id: str | None) -> RequestPreview:
        """Return the request for one Space, as it would be sent.

        Raises:
            ConfigurationError: The id is malformed.
        """
        parts = (quote(part, safe="") for part in ("api", *self._segments(repo_id)))
        query = f"?{urlencode(self.query)}" if self.query else ""
        body = self._open_body(repo_id)
        if body is not None:
            stars = {k: _starred(b) for k, b in self.boxed.items() if b is not None}
            body = json.loads(dump_json(body | stars))
        return RequestPreview(self.method, f"/{'/'.join(parts)}{query}", body)

    def then(self, change: Callable[[T], R]) -> Write[R]:
        """Return the same write with another result."""
        decode, evidence = self.decode, self.evidence
        absent, bodyless = self.absent, self.bodyless
        changed: Any = evolve(
            cast("Any", self),
            decode=lambda body: change(decode(body)),  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
            absent=None if absent is None else Done(change(absent.value)),
            empty=None if bodyless is None else Done(change(bodyless.value)),
            advice=None,
            ineffective=None,
            evidence=None if evidence is None else _then(evidence, change),
        )
        return cast("Write[R]", changed)


@frozen
class Edit(Operation[T], Generic[S, T]):
    """A write that is made from the state of the Space.

    Attributes:
        read: Makes the call that reads the state.
        make: Makes the write; or says with which result the state needs none.
        fields: What it may set. What is wanted of them depends on the state.
        snapshot: See `Write`.
        inverse: See `Write`.
    """

    read: Callable[[str], Call[S]]
    make: Callable[[S], Write[T] | Done[T]]
    fields: tuple[Field[S], ...] = field(default=(), kw_only=True)
    snapshot: Snapshot[S] | None = field(default=None, kw_only=True)
    inverse: Callable[[S], Write[Any] | None] | None = field(default=None, kw_only=True)

    on_lost: ClassVar[OnLost] = OnLost.REPEAT
    bodyless: ClassVar[None] = None
    stamp: ClassVar[None] = None
    refused_if_already: ClassVar[bool] = False

    @property
    def evidence(self) -> Evidence[S, T]:
        """What proves that it took effect: the state needs no further write."""

        def find(state: S) -> Done[T] | None:
            made = self.make(state)
            return made if isinstance(made, Done) else None

        return Evidence(
            read=self.read,
            judge=lambda state, _: find(state) or Verdict.NOT_DONE,
            result=lambda state: find(state) or Verdict.UNKNOWN,
        )

    @property
    def in_container(self) -> bool:
        """Whether it is about the container, which a static Space does not have."""
        return True


@frozen
class Series(Operation[list[KeyOutcome]]):
    """Several writes for one Space, one after the other.

    The result is a `KeyOutcome` for each.

    Attributes:
        steps: What each is about, and the write.
    """

    steps: tuple[tuple[str, Write[Any]], ...]


@frozen
class Tailored(Operation[Any]):
    """An operation of its own for each Space, as an undo is.

    Attributes:
        by_space: What is done to each.
    """

    by_space: Mapping[str, Operation[Any]]

    @property
    def in_container(self) -> bool:
        """Whether it is about the container of each Space that it is for."""
        return all(operation.in_container for operation in self.by_space.values())

    def of(self, repo_id: str) -> Operation[Any]:
        """Return what is done to one Space.

        Raises:
            ConfigurationError: It has nothing for it.
        """
        try:
            return self.by_space[repo_id]
        except KeyError:
            raise ConfigurationError(
                f"{self.name} has nothing to do to {repo_id}"
            ) from None


AnyWrite = Write[Any] | Edit[Any, Any] | Series
"""What an operation can be made of."""


def write(make: Callable[P, T]) -> Callable[P, T]:
    """Name the write that a function makes, and take down what it was made of."""
    return _named(make, frozenset())


def secret_write(*hidden: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Do the same for a write with parameters that must not be shown.

    The function gets these boxed, whether they were passed so or not, or not at all.

    Args:
        hidden: Their names.
    """
    return lambda make: _named(make, frozenset(hidden))


def _named(make: Callable[P, T], hidden: frozenset[str]) -> Callable[P, T]:
    signature = inspect.signature(make)
    names = tuple(signature.parameters)
    in_order = tuple(sorted(hidden))
    parameters = signature.parameters.items()
    not_passed = {
        name: Redacted(parameter.default)
        for name, parameter in parameters
        if name in hidden and parameter.default is not parameter.empty
    }

    def made_new(*args: P.args, **kwargs: P.kwargs) -> T:
        lasting = all(isinstance(v, _LASTING) for v in (*args, *kwargs.values()))
        if not lasting:
            args = tuple(map(_listed, args))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
            kwargs = {k: _listed(v) for k, v in kwargs.items()}  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        made = make(*args, **kwargs)
        take_down = partial(_taken_down, signature, hidden, args, kwargs)
        return cast(
            "T",
            evolve(
                cast("Any", made),
                name=make.__name__,
                hidden=in_order,
                # Only journals and plans ask what it was made of, which takes longer
                # than all the rest. What the caller may change is taken down now.
                made_of=take_down if lasting else take_down(),
            ),
        )

    @wraps(make)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        if hidden:
            # This frame may be shown with its locals, so the values go into boxes first.
            named_args = zip_longest(args, names[: len(args)])
            args = tuple(_box(a) if name in hidden else a for a, name in named_args)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
            for name in hidden & kwargs.keys():
                kwargs[name] = _box(kwargs[name])
            for name in not_passed.keys() - {*names[: len(args)], *kwargs}:
                kwargs[name] = not_passed[name]
        for value in (*args, *kwargs.values()):
            if not isinstance(value, _FLAG):
                return made_new(*args, **kwargs)
        key = (make, args, *kwargs.items())
        found: T | None = _known.get(key)
        if found is None:
            found = _known[key] = made_new(*args, **kwargs)
        return found

    return named


_known: dict[tuple[Any, ...], Any] = {}
"""What was made of flags or of nothing, as a restart is: the same object each time."""

_FLAG: Final = (bool, NoneType)
_LASTING: Final = (str, int, float, NoneType)
"""Arguments that cannot be changed afterwards."""


def _listed(value: Any) -> Any:
    """Make a list of an iterator: it is read twice, by the function and afterwards."""
    return list(value) if isinstance(value, Iterator) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _taken_down(
    signature: inspect.Signature,
    hidden: frozenset[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """Return what an operation was made of, as JSON."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given = {name: _plain(value) for name, value in bound.arguments.items()}
    return {k: v for k, v in given.items() if k not in hidden or v is not None}


def _box(value: object) -> Redacted[Any]:
    return value if isinstance(value, Redacted) else Redacted(value)  # pyright: ignore[reportUnknownVariableType]


def _plain(value: Any) -> Any:
    """Return a parameter as JSON; of what is boxed only the keys."""
    if isinstance(value, Redacted):
        inner: Any = value.reveal()  # pyright: ignore[reportUnknownVariableType]
        return sorted(map(str, inner)) if isinstance(inner, Mapping) else None  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, Volume):
        return value.to_uri()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        items: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {str(k): _plain(v) for k, v in items.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in cast("Any", value)]
    return value


def secrets_in(
    boxes: Iterable[Redacted[Any] | None],
) -> tuple[Redacted[str], ...]:
    """Return the secret values in boxes of texts and of lists of entries."""
    found: list[Redacted[str]] = []
    for box in boxes:
        if box is None:
            continue
        if isinstance(box.reveal(), str):
            found.append(box)
        else:
            found += [Redacted(e["value"]) for e in box.reveal() if "value" in e]
    return tuple(found)


def _starred(box: Redacted[Any]) -> Any:
    if isinstance(box.reveal(), str):
        return STARS
    return [
        {**entry, "value": STARS} if "value" in entry else entry
        for entry in cast("list[dict[str, str]]", box.reveal())
    ]


def _then(evidence: Evidence[Any, T], change: Callable[[T], R]) -> Evidence[Any, R]:
    judge, result = evidence.judge, evidence.result

    def changed(found: Finding[T]) -> Finding[R]:
        match found:
            case Done():
                return Done(change(found.value))
            case Evidence():
                return _then(found, change)
            case Verdict() | TooEarly():
                return found

    return Evidence(
        read=evidence.read,
        judge=lambda state, about: changed(judge(state, about)),
        result=None if result is None else lambda state: changed(result(state)),
        listed=evidence.listed,
        settle=evidence.settle,
        already=evidence.already,
        before_repeat=evidence.before_repeat,
    )
