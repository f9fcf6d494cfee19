"""A command with an argument of its own that also has subcommands: `nnix explain KIND` and `nnix explain route PREFIX`."""

from __future__ import annotations

from typing import Any

import click


class Otherwise(click.Group):
    """A group that is `otherwise`, a command, where its first word is none of its subcommands."""

    def __init__(self, *args: Any, otherwise: click.Command, **more: Any) -> None:
        super().__init__(*args, **more)
        self.otherwise = otherwise

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        if args and (args[0] in self.commands or args[0] in ("-h", "--help")):
            return super().make_context(info_name, args, parent, **extra)
        return self.otherwise.make_context(info_name, args, parent, **extra)
