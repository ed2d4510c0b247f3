"""Tokens in plain text for the commands of this machine: who can read the state directory may use them."""

from __future__ import annotations

import os
from pathlib import Path

from features.security.role import Role
from features.security.tokens import new_token

OPERATOR_ROLES = (Role.ADMIN, Role.RECOMMEND)


def operator_file(state_dir: Path, role: Role) -> Path:
    """Return the file that holds a role's operator token."""
    return state_dir / f"{role}.token"


def operator_files(state_dir: Path) -> dict[Role, Path]:
    """Return all such files."""
    return {role: operator_file(state_dir, role) for role in OPERATOR_ROLES}


def make_operator_tokens(state_dir: Path) -> None:
    """Make the tokens that are missing, readable by this user alone.

    Raises:
        OSError: the state directory cannot be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    for role, path in operator_files(state_dir).items():
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(new_token("operator", role, 0)[0])


def read_operator_token(state_dir: Path, role: Role) -> str:
    """Return the token, empty where there is none."""
    try:
        return operator_file(state_dir, role).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
