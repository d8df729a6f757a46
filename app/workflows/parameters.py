"""What a person wants to know of a workflow: its prompt, model, seed, sampler and size."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .conditioning import texts
from .expect import Expected, expected, output_nodes
from .graph import Graph
from .shapes import Shapes

__all__ = ["Expected", "Parameter", "expected", "parameters"]

_MAX_NAMES = 20
_LONGEST_NAME = 300
_SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
#: An input of one of these names, with a link in one of those, makes a node of any class a sampler.
_SAMPLES_WITH = ("sampler_name", "sampler", "seed", "noise_seed")
_CONDITIONED_BY = ("positive", "guider")
#: Where the pictures of an earlier sampler come in.
_EARLIER = ("latent_image", "samples", "latent", "pixels", "image", "images", "samples_to", "destination")
MODEL_NAMES = ("ckpt_name", "unet_name", "model_name", "model_path", "gguf_name")
_MODEL_ENDINGS = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the inspector: what it is called, and its value as a text."""

    label: str
    value: str


def parameters(prompt: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Of the first sampler behind the results: the one that decides what is seen; later ones refine.

    In this order, each left out when it cannot be told: Prompt, Negative prompt, Model, LoRA (one row each),
    Seed, Sampler, Size. Never raises.
    """
    graph = Graph(prompt)
    sampler = first_sampler(graph)
    rows = _of_service(graph) if sampler is None else _of_sampler(graph, sampler)
    size = _size(prompt, graph, sampler)
    return tuple(Parameter(label, value) for label, value in (*rows, ("Size", size)) if value)


def _of_sampler(graph: Graph, sampler: str) -> Iterator[tuple[str, str]]:
    guide = guide_of(graph, sampler)
    yield "Prompt", texts(graph, guide, "positive")
    yield "Negative prompt", texts(graph, guide, "negative")
    models, loras = _models(graph, sampler)
    yield "Model", " + ".join(models)
    for lora in loras:
        yield "LoRA", lora
    yield "Seed", _seed(graph, sampler)
    yield "Sampler", " · ".join(_sampler(graph, sampler))


def _of_service(graph: Graph) -> Iterator[tuple[str, str]]:
    """A workflow without a sampler may ask a service, whose node has all in its own inputs."""
    node = service(graph)
    if node is not None:
        yield "Prompt", graph.text(node, "prompt") or graph.text(node, "prompt_text") or ""
        yield "Negative prompt", graph.text(node, "negative_prompt") or ""
        yield "Model", graph.text(node, "model") or ""
        yield "Seed", _seed(graph, node)


def service(graph: Graph) -> str | None:
    """The node behind the results that has a prompt of its own."""
    behind = graph.upstream(output_nodes(graph), lambda _: False)
    prompted = (n for n in behind if graph.text(n, "prompt") or graph.text(n, "prompt_text"))
    return next(prompted, None)


def is_sampler(graph: Graph, node: str) -> bool:
    inputs = graph.inputs(node)
    conditioned = any(graph.link(node, key) for key in _CONDITIONED_BY)
    return graph.kind(node) in _SAMPLERS or (conditioned and any(key in inputs for key in _SAMPLES_WITH))


def first_sampler(graph: Graph) -> str | None:
    """The one that decides what is seen."""
    behind = graph.upstream(output_nodes(graph), lambda node: is_sampler(graph, node))
    last = next((node for node in behind if is_sampler(graph, node)), None)
    if last is None:
        return next((node for node in graph if is_sampler(graph, node)), None)
    return _earliest(graph, last)


def guide_of(graph: Graph, sampler: str) -> str:
    """The node that takes the conditioning: the sampler, or its guider."""
    guider = graph.link(sampler, "guider")
    return guider.node if guider is not None else sampler


def before(graph: Graph, node: str) -> str | None:
    """The node that a node's pictures come from."""
    return next((link.node for key in _EARLIER if (link := graph.link(node, key))), None)


def _earliest(graph: Graph, last: str) -> str:
    """Back along the pictures; not through nodes that take them as a reference beside the conditioning."""
    seen: set[str] = set()
    node: str | None = last
    first = last
    while node is not None and node not in seen:
        seen.add(node)
        if is_sampler(graph, node):
            first = node
        elif graph.link(node, "positive") is not None:
            break
        node = before(graph, node)
    return first


def model_nodes(graph: Graph, sampler: str) -> Iterator[str]:
    """The nodes that a sampler's model comes through, from the sampler back to the loaders."""
    link = graph.link(guide_of(graph, sampler), "model") or graph.link(sampler, "model")
    seen: set[str] = set()
    waiting = deque([link] if link is not None else ())
    while waiting:
        node = waiting.popleft().node
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [link for key, link in graph.links(node) if key.startswith("model")]


def _models(graph: Graph, sampler: str) -> tuple[list[str], list[str]]:
    """The files of the models and the LoRAs on the way to them, in the order in which they are applied."""
    models: dict[str, None] = {}
    loras: list[str] = []
    for node in model_nodes(graph, sampler):
        name = next((name for key in MODEL_NAMES if (name := graph.text(node, key))), None)
        if name is not None:
            models[name[:_LONGEST_NAME]] = None
        loras += reversed(_loras(graph, node))
    return list(models)[:_MAX_NAMES], loras[:_MAX_NAMES][::-1]


def _loras(graph: Graph, node: str) -> list[str]:
    found = []
    name = graph.text(node, "lora_name")
    if name is not None:
        found.append((name, graph.number(node, "strength_model")))
    for value in graph.inputs(node).values():
        # rgthree's Power Lora Loader: one object for each.
        if isinstance(value, Mapping) and isinstance(value.get("lora"), str) and value.get("on") is True:
            strength = value.get("strength")
            good = isinstance(strength, int | float) and abs(strength) < 1000
            found.append((value["lora"], strength if good else None))
    return [_lora(name, strength) for name, strength in found[:_MAX_NAMES]]


def _lora(name: str, strength: float | None) -> str:
    shown = _MODEL_ENDINGS.sub("", name[:_LONGEST_NAME])
    return shown if strength is None else f"{shown} · {strength:g}"


def seed_inputs(graph: Graph, node: str) -> Iterator[tuple[str, str]]:
    """Where a sampler's seed may come in: (node, input)."""
    noise = graph.link(node, "noise")
    for place in [node] if noise is None else [node, noise.node]:
        for key in ("seed", "noise_seed"):
            yield place, key


def _seed(graph: Graph, node: str) -> str:
    seeds = (graph.whole(*place) for place in seed_inputs(graph, node))
    return next((str(seed) for seed in seeds if seed is not None), "")


def method_node(graph: Graph, sampler: str) -> str:
    """The node that names the sampler's method: itself, or one of its own."""
    chosen = graph.link(sampler, "sampler")
    return chosen.node if chosen is not None else sampler


def schedule_nodes(graph: Graph, sampler: str) -> Iterator[str]:
    """The nodes that may say the number of steps, near ones first."""
    sigmas = graph.link(sampler, "sigmas")
    if sigmas is None:
        yield sampler
    else:
        yield from graph.upstream([sigmas.node], lambda node: "steps" in graph.inputs(node))


def _sampler(graph: Graph, sampler: str) -> Iterator[str]:
    """Its method, its scheduler and the number of steps."""
    place = method_node(graph, sampler)
    yield from _some(graph.text(place, "sampler_name") or (graph.kind(place) if place != sampler else None))
    for place in schedule_nodes(graph, sampler):
        steps = graph.whole(place, "steps")
        if steps is not None:
            is_own = graph.link(sampler, "sigmas") is None
            yield from _some(graph.text(place, "scheduler") or (None if is_own else graph.kind(place)))
            yield "1 step" if steps == 1 else f"{steps} steps"
            return


def _some(text: str | None) -> Iterable[str]:
    return () if text is None else (text[:_LONGEST_NAME],)


def _size(prompt: Mapping[str, Any], graph: Graph, sampler: str | None) -> str:
    """That of the results; when it cannot be told or they differ, that of what is sampled."""
    wanted = expected(prompt)
    shape = None if sampler is None else Shapes(graph).of(graph.link(sampler, "latent_image"))
    for known in (wanted, shape):
        if known is not None and known.width is not None and known.height is not None:
            return f"{known.width} × {known.height}"
    return ""
