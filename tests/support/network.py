"""Hosts in network namespaces: each has a link to Redis, which can be taken down.

A link that is down is silent: nothing is refused and no connection ends. What was under
way comes once the link is up again, for the kernel keeps sending it.

This needs Linux, root and `ip`. A number in the name of all that is made here is held by
a socket, which no killed test keeps: the next one takes it, and removes what was left.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

_IP: Final = shutil.which("ip") or "ip"
_CONNECT: Final = (
    "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
)


class Network:
    """Some namespaces. One bridge leads from them to Redis, and one to the Hub.

    Attributes:
        redis: The address of this side to which Redis has to listen.
        hub: The address of this side to which the Hub has to listen.
        namespaces: The name of each.
    """

    def __init__(self, hosts: int) -> None:
        there = _listed("link")
        # An abstract name: the kernel frees it when this process ends, however it does.
        self._lock = socket.socket(socket.AF_UNIX)
        # First the numbers of killed tests, then those that nothing is left of.
        numbers = sorted(range(200), key=lambda it: f"spaces{it}r" not in there)
        number = next(number for number in numbers if self._takes(number))
        self._name = f"spaces{number}"
        # The addresses for benchmarks lead nowhere else.
        self._nets = {"r": f"198.18.{number}", "h": f"198.19.{number}"}
        self.redis, self.hub = (f"{net}.1" for net in self._nets.values())
        self.namespaces = [f"{self._name}-{at}" for at in range(hosts)]

    def links(self, port: int) -> list[Link]:
        """Return the way of each host to a Redis with this port."""
        return [
            Link(namespace, f"{self.redis}:{port}", f"{self._name}r{at}")
            for at, namespace in enumerate(self.namespaces)
        ]

    def _takes(self, number: int) -> bool:
        try:
            self._lock.bind(f"\0spaces-async-network-{number}")
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        try:
            self._remove()
            _ip(self._commands())
            for at, namespace in enumerate(self.namespaces):
                _ip(self._commands_inside(at + 2), "-n", namespace)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._remove()
        finally:
            self._lock.close()

    def _commands(self) -> Iterable[str]:
        for kind, net in self._nets.items():
            bridge = f"{self._name}{kind}"
            yield f"link add {bridge} type bridge"
            yield f"addr add {net}.1/24 dev {bridge}"
            yield f"link set dev {bridge} up"
        for at, namespace in enumerate(self.namespaces):
            yield f"netns add {namespace}"
            for kind in self._nets:
                end = f"{self._name}{kind}{at}"
                peer = f"peer name {kind} netns {namespace}"
                yield f"link add {end} type veth {peer}"
                yield f"link set dev {end} master {self._name}{kind} up"

    def _commands_inside(self, number: int) -> Iterable[str]:
        for kind, net in self._nets.items():
            yield f"addr add {net}.{number}/24 dev {kind}"
            yield f"link set dev {kind} up"

    def _remove(self) -> None:
        """Remove all that has this name, as far as it is there."""
        for what, kinds in (("link", self._nets), ("netns", "-")):
            ours = tuple(f"{self._name}{kind}" for kind in kinds)
            there = [name for name in _listed(what) if name.startswith(ours)]
            _ip([f"{what} del {name}" for name in there], "-force")


@dataclass
class Link:
    """The way of one host to Redis."""

    namespace: str
    where: str
    _end: str  # the one on this side: that of the host stays up, with its address

    def cut(self) -> None:
        _ip([f"link set dev {self._end} down"])

    def mend(self) -> None:
        _ip([f"link set dev {self._end} up"])


@cache
def has_namespaces() -> bool:
    """Return whether a host in a namespace can be made here, and reaches this side."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which(_IP):
        return False
    try:
        with Network(1) as made, socket.create_server((made.redis, 0)) as server:
            inside = [_IP, "netns", "exec", made.namespaces[0], sys.executable]
            where = [made.redis, str(server.getsockname()[1])]
            command = [*inside, "-I", "-c", _CONNECT, *where]
            subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _ip(commands: Iterable[str], *options: str) -> None:
    """Let `ip` do all of it; with `-force` it goes on where something fails."""
    subprocess.run(
        [_IP, *options, "-batch", "-"],
        input="".join(f"{command}\n" for command in commands),
        check="-force" not in options,
        capture_output=True,
        text=True,
    )


def _listed(kind: str) -> list[str]:
    """Return the names of all links or namespaces."""
    command = [_IP, "-br", kind]
    listed = subprocess.run(command, capture_output=True, check=True, text=True)
    return [line.split()[0].partition("@")[0] for line in listed.stdout.splitlines()]
