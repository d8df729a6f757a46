"""Checks a prompt before it is queued and words the errors as ComfyUI 0.3.64 does.

Every sentence here is protocol: clients compare types and show messages.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.demo.catalogue import InputSpec, descriptions, inputs_of, is_output, outputs_of
from app.demo.files import Folders
from app.demo.nodes import NODES

Error = dict[str, Any]
_LONGEST_LIST = 20


@dataclass(frozen=True)
class Verdict:
    """``error`` is None when an output node can run (``outputs``); ``node_errors`` may still hold some."""

    error: Error | None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Result:
    valid: bool
    errors: list[Error]


class _Mismatch(Exception):
    """Carries one input's error."""

    def __init__(self, error: Error) -> None:
        super().__init__(error["message"])
        self.error = error


def type_name(error: BaseException) -> str:
    """An exception's class as the protocol writes it: with its module unless built in."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def validate(prompt: dict[str, Any], folders: Folders, targets: Sequence[str] | None = None) -> Verdict:
    """Check ``prompt``; numbers given as text are converted in place. ``targets`` limits the output nodes.

    Raises what a body of the wrong shape brings about (TypeError …): the server answers 500, as ComfyUI.
    """
    outputs: list[str] = []
    for node_id, entry in prompt.items():
        if "class_type" not in entry:
            return Verdict(
                _error(
                    "invalid_prompt",
                    "Cannot execute because a node is missing the class_type property.",
                    f"Node ID '#{node_id}'",
                )
            )
        if entry["class_type"] not in descriptions():
            return Verdict(
                _error(
                    "invalid_prompt",
                    f"Cannot execute because node {entry['class_type']} does not exist.",
                    f"Node ID '#{node_id}'",
                )
            )
        if is_output(entry["class_type"]) and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(_error("prompt_no_outputs", "Prompt has no outputs", ""))
    return _Validation(prompt, folders).run(outputs)


class _Validation:
    """One prompt's check: each node is looked at once."""

    def __init__(self, prompt: dict[str, Any], folders: Folders) -> None:
        self._prompt = prompt
        self._folders = folders
        self._results: dict[str, _Result] = {}
        self._on_the_way: set[str] = set()

    def run(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        details: list[str] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            result = self._output(output)
            if result.valid:
                good.append(output)
                continue
            details += [f"{error['message']}: {error['details']}" for error in result.errors]
            # Errors of every node seen so far are put down to this output, related or not: so does ComfyUI.
            for node_id, seen in self._results.items():
                if not seen.valid and seen.errors:
                    entry = node_errors.setdefault(
                        node_id,
                        {
                            "errors": seen.errors,
                            "dependent_outputs": [],
                            "class_type": self._prompt[node_id]["class_type"],
                        },
                    )
                    entry["dependent_outputs"].append(output)
        if good:
            return Verdict(None, good, node_errors)
        failed = _error(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(details)
        )
        return Verdict(failed, [], node_errors)

    def _output(self, node_id: str) -> _Result:
        try:
            return self._node(node_id)
        except Exception as error:  # noqa: BLE001 - whatever a broken prompt brings about is its answer
            info = {"exception_type": type_name(error), "traceback": traceback.format_tb(error.__traceback__)}
            reason = _error("exception_during_validation", "Exception when validating node", str(error), info)
            self._results[node_id] = _Result(False, [reason])
            return self._results[node_id]

    def _node(self, node_id: str) -> _Result:
        if node_id in self._results:
            return self._results[node_id]
        entry = self._prompt[node_id]
        values = entry["inputs"]
        self._on_the_way.add(node_id)
        errors: list[Error] = []
        sources_valid = True
        checks = NODES[entry["class_type"]].checks
        for spec in inputs_of(entry["class_type"]):
            if spec.name not in values:
                if spec.required:
                    errors.append(
                        _error(
                            "required_input_missing",
                            "Required input is missing",
                            spec.name,
                            {"input_name": spec.name},
                        )
                    )
                continue
            try:
                if isinstance(values[spec.name], list):
                    sources_valid &= self._link(spec, values[spec.name])
                else:
                    values[spec.name] = _converted(spec, values[spec.name])
                    if spec.name not in checks:
                        _check_value(spec, values[spec.name])
            except _Mismatch as mismatch:
                errors.append(mismatch.error)
        errors += self._own_checks(entry["class_type"], values)
        self._on_the_way.discard(node_id)
        self._results[node_id] = _Result(not errors and sources_valid, errors)
        return self._results[node_id]

    def _own_checks(self, class_type: str, values: dict[str, Any]) -> list[Error]:
        errors: list[Error] = []
        for name, check in NODES[class_type].checks.items():
            if name in values and not isinstance(values[name], list):
                problem = check(self._folders, values[name])
                if problem is not None:
                    errors.append(
                        _error(
                            "custom_validation_failed",
                            "Custom validation failed for node",
                            f"{name} - {problem}",
                            {"input_name": name},
                        )
                    )
        return errors

    def _link(self, spec: InputSpec, value: list[Any]) -> bool:
        """Whether the node behind a link is valid. Raises _Mismatch for the link itself."""
        about = {"input_name": spec.name, "input_config": spec.config}
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            raise _Mismatch(
                _error("bad_linked_input", message, spec.name, {**about, "received_value": value})
            )
        source, slot = value
        received = outputs_of(self._prompt[source]["class_type"])[slot]
        if received != spec.type and "*" not in (received, spec.type) and not _overlap(received, spec.type):
            raise _Mismatch(
                _error(
                    "return_type_mismatch",
                    "Return type mismatch between linked nodes",
                    f"{spec.name}, received_type({received}) mismatch input_type({spec.type})",
                    {**about, "received_type": received, "linked_node": value},
                )
            )
        if source in self._on_the_way:
            # A cycle: invalid, and without an error of its own.
            return False
        try:
            return self._node(source).valid
        except Exception as error:  # noqa: BLE001 - as above
            info = {
                **about,
                "exception_message": str(error),
                "exception_type": type_name(error),
                "traceback": traceback.format_tb(error.__traceback__),
                "linked_node": value,
            }
            reason = _error(
                "exception_during_inner_validation", "Exception when validating inner node", str(error), info
            )
            self._results[source] = _Result(False, [reason])
            return False


def _error(kind: str, message: str, details: str, extra: dict[str, Any] | None = None) -> Error:
    return {"type": kind, "message": message, "details": details, "extra_info": extra or {}}


def _overlap(received: str, wanted: Any) -> bool:
    """Types may be unions, ``A,B``: one in common is enough."""
    if not isinstance(wanted, str):
        return False
    return bool({part.strip() for part in received.split(",")} & {part.strip() for part in wanted.split(",")})


_CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _converted(spec: InputSpec, value: Any) -> Any:
    if isinstance(value, dict) and "__value__" in value:
        # How a client gives a list as a value; a bare list would be a link.
        value = value["__value__"]
    convert = _CONVERSIONS.get(spec.type) if isinstance(spec.type, str) else None
    if convert is None:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _Mismatch(
            _error(
                "invalid_input_type",
                f"Failed to convert an input value to a {spec.type} value",
                f"{spec.name}, {value}, {error}",
                {
                    "input_name": spec.name,
                    "input_config": spec.config,
                    "received_value": value,
                    "exception_message": str(error),
                },
            )
        ) from error


def _check_value(spec: InputSpec, value: Any) -> None:
    """Raises _Mismatch for a value out of range or not in the list."""
    about = {"input_name": spec.name, "input_config": spec.config, "received_value": value}
    least, most = spec.options.get("min"), spec.options.get("max")
    if least is not None and value < least:
        message = f"Value {value} smaller than min of {least}"
        raise _Mismatch(_error("value_smaller_than_min", message, spec.name, about))
    if most is not None and value > most:
        message = f"Value {value} bigger than max of {most}"
        raise _Mismatch(_error("value_bigger_than_max", message, spec.name, about))
    if isinstance(spec.type, list) and value not in spec.type:
        listed = str(spec.type)
        if len(spec.type) > _LONGEST_LIST:
            listed, about["input_config"] = f"(list of length {len(spec.type)})", None
        details = f"{spec.name}: '{value}' not in {listed}"
        raise _Mismatch(_error("value_not_in_list", "Value not in list", details, about))
