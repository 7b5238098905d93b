"""Owns reading template.yaml and the state machines as plain data, CloudFormation's tags included.

A tag becomes the long form of its function (`!Ref X` is {"Ref": "X"}), and `!GetAtt A.B` keeps the
dotted form. Nothing is evaluated: this is what is written, not what becomes of it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


class _Loader(yaml.SafeLoader):
    """Safe YAML, and no repeated keys: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise yaml.constructor.ConstructorError(
                problem=f"repeated keys {sorted(repeated)}", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def read(path: str) -> dict[str, Any]:
    """A YAML file of the repository, by its path from the root."""
    with (ROOT / path).open(encoding="utf-8") as file:
        loaded = yaml.load(file, Loader=_Loader)
    assert isinstance(loaded, dict)
    return loaded


TEMPLATE = read("template.yaml")
RESOURCES: Mapping[str, Mapping[str, Any]] = TEMPLATE["Resources"]


def of_type(resource_type: str) -> dict[str, Mapping[str, Any]]:
    """Resources of one type by logical id, each as its whole definition. Never empty."""
    found = {name: body for name, body in RESOURCES.items() if body["Type"] == resource_type}
    assert found, f"no {resource_type} in the template"
    return found


def properties(logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = RESOURCES[logical_id]["Properties"]
    return found


def references(value: object) -> Iterator[str]:
    """The logical ids that a value names by Ref, Fn::GetAtt or Fn::Sub."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Ref":
                # SAM knows `!Ref Function.Alias`.
                yield inner.partition(".")[0]
            elif key == "Fn::GetAtt":
                yield inner.partition(".")[0]
            elif key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                for part in text.split("${")[1:]:
                    yield part.partition("}")[0].partition(".")[0]
                yield from references(None if isinstance(inner, str) else inner[1])
            else:
                yield from references(inner)
