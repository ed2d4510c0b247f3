"""YAML as `headrace.yaml` may hold it: plain values, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml


class _UniqueKeysLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but for keys that stand twice in one mapping: the first would be lost in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read one mapping as it is written, before `<<` brings in what others say."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice, take one away"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def parse_yaml(text: str) -> Any:
    """Return what YAML says, in values of plain Python.

    Raises:
        ValueError: it is no YAML, or a key stands twice; one line with the place.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeysLoader)
    except yaml.YAMLError as error:
        raise ValueError(_sentence(error)) from error


def _sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None) or 'cannot be read'}"
