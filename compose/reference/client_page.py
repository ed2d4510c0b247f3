"""The public names of `headrace_client` as Markdown, from signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import headrace_client

_WIDTH = 90


def client_page() -> str:
    """Return a section of the third level for every public class, and the constants as a table."""
    classes, constants = [], []
    for name in headrace_client.__all__:
        value = getattr(headrace_client, name)
        if not inspect.isclass(value):
            constants.append(f"| `{name}` | `{value!r}` |")
        elif "pb2" not in value.__module__:
            classes.append(_class_section(name, value))
    table = "### Constants\n\n| name | value |\n|---|---|\n" + "\n".join(constants) + "\n\n"
    return table + "\n".join(classes)


def _class_section(name: str, value: Any) -> str:
    text = f"### {name}\n\n"
    if not issubclass(value, Exception):
        text += f"```python\n{name}{_signature(value)}\n```\n\n"
    text += _doc(value)
    for method_name, method in _methods(value):
        text += f"\n```python\n{name}.{method_name}{_signature(method)}\n```\n\n{_doc(method)}"
    return text


def _methods(value: Any) -> Iterator[tuple[str, Any]]:
    for name, member in vars(value).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod)):
            yield name, getattr(value, name)


def _signature(value: Any) -> str:
    signature = inspect.signature(value)
    parts = [_parameter(each) for name, each in signature.parameters.items() if name != "self"]
    if stars := [each for each in signature.parameters.values() if each.kind is inspect.Parameter.KEYWORD_ONLY]:
        parts.insert(len(parts) - len(stars), "*")
    returned = signature.return_annotation
    arrow = "" if returned in (inspect.Signature.empty, None, "None") else f" -> {returned}"
    line = f"({', '.join(parts)}){arrow}"
    return line if len(line) < _WIDTH else "(\n    " + ",\n    ".join(parts) + f",\n){arrow}"


def _parameter(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is inspect.Parameter.empty:
        return f"{parameter.name}: {parameter.annotation}"
    shown = "{}" if isinstance(default, type) or "factory" in repr(default) else repr(default)
    return f"{parameter.name}: {parameter.annotation} = {shown}"


def _doc(value: Any) -> str:
    """Return a docstring with the sections of Google's style as lists."""
    lines = (inspect.getdoc(value) or "").splitlines()
    told: list[str] = []
    is_listing = False
    for line in lines:
        if line in ("Args:", "Raises:", "Returns:"):
            told += ["", f"*{line[:-1]}*", ""]
            is_listing = True
        elif is_listing and line.startswith("    ") and not line.startswith("     "):
            name, colon, what = line.strip().partition(": ")
            told.append(f"- `{name}`: {what}" if colon and " " not in name else f"- {line.strip()}")
        elif is_listing and line.strip():
            told.append("  " + line.strip())
        else:
            is_listing = False
            told.append(line)
    return "\n".join(told).rstrip() + "\n"
