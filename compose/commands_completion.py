"""The command `headrace completion`: what a shell needs to complete verbs, options and their values."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

_VARIABLE = "_HEADRACE_COMPLETE"
"""Set by the shell's function when it asks; the name is that of Typer's convention."""


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.")]) -> None:
    """Print the completion script of a shell: `source <(headrace completion bash)`, or put that into its start file.

    zsh: `source <(headrace completion zsh)` behind `compinit`; fish: `headrace completion fish | source`.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # Typer lists no exports.

    typer.echo(get_completion_script(prog_name="headrace", complete_var=_VARIABLE, shell=shell))


def teach_shells() -> None:
    """Let a shell's question be answered, where this process was started by one."""
    if _VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
