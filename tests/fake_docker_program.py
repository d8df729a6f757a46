"""What :mod:`tests.fake_docker` puts in Docker's place. It starts often, so it imports little."""

# ruff: noqa: PTH108, PTH110, PTH123, PTH208
from __future__ import annotations

import binascii
import json
import os
import signal
import sys
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LABEL = "comfy-runpod.manifest"
_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR4nGPQyDsBRwzEcQAvEhXhEBKTyQAAAABJRU5ErkJggg=="
)
_STEPS = ("[1/3] FROM base", "[2/3] RUN uv pip sync comfyui.lock", "[3/3] COPY worker /opt/worker")
_HISTORY = (
    ("COPY worker /opt/comfy-runpod/worker", 5_000_000),
    ("RUN uv pip sync comfyui.lock", 900_000_000),
    ("RUN uv pip sync torch.lock", 3_000_000_000),
    ("RUN apt-get install -y git", 40_000_000),
    ("ADD rootfs", 80_000_000),
)
_SITE = "/opt/comfyui/lib/python3.12/site-packages"
_DU = f"500000\t{_SITE}/torch\n90000\t{_SITE}/av\n"


def main(place: str) -> None:
    folder, words = place, sys.argv[1:]
    with open(f"{folder}/asked", "a") as file:
        file.write(json.dumps(words) + "\n")
    told = _read(f"{folder}/told.json", {})
    if told.get("daemon") is False:
        sys.exit("Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?")
    match words:
        case ["version", *_]:
            _say({"Client": {"Version": "28.2.2"}, "Server": {"Version": "28.2.2"}})
        case ["info", *_]:
            name, release = os.uname().nodename, os.uname().release
            _say({
                "OSType": "linux", "Architecture": "x86_64", "Name": name, "KernelVersion": release,
                "DockerRootDir": folder, "Runtimes": {"runc": {}},
            })  # fmt: skip
        case ["buildx", "version"]:
            print("github.com/docker/buildx v0.24.0 abc")
        case ["buildx", "build", *rest]:
            _build(folder, told, rest)
        case ["image", "inspect", name]:
            _inspect(folder, name)
        case ["history", *_]:
            for command, size in _HISTORY:
                _say({"CreatedBy": command, "Size": str(size), "CreatedAt": "2026-11-28T10:00:00Z"})
        case ["push", name]:
            _push(told, name)
        case ["ps", *_, label]:
            for name, container in _containers(folder):
                if any(each.startswith(label.removeprefix("label=")) for each in container["labels"]):
                    print(_digest(name))
        case ["rm", "--force", *names]:
            _remove(folder, names)
        case ["create", "--name", name, *_]:
            _write(f"{folder}/containers/{name}", {"labels": [], "pid": 0})
        case ["cp", "--follow-link", _, into]:
            _write(into, _read(f"{folder}/about.json", {}))
        case ["run", *rest]:
            _run(folder, told, rest)
        case _:
            sys.exit(f"docker: unknown command: docker {' '.join(words)}")


def _build(folder: str, told: dict[str, Any], words: list[str]) -> None:
    name = words[words.index("--tag") + 1]
    labels = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "--label")
    for number, title in enumerate(_STEPS):
        vertex: dict[str, Any] = {"digest": f"sha256:{number}", "name": title}
        _say({"vertexes": [vertex]})
        vertex["started"] = _now()
        _say({"vertexes": [vertex]})
        log = {"vertex": vertex["digest"], "stream": 1, "timestamp": _now()}
        if number == 1:
            lines = "\n".join(f"Prepared package {each}" for each in range(int(told.get("lines", 3)))) + "\n"
            _say({"logs": [{**log, "data": _coded(lines)}]})
            if told.get("build") == "hang":
                time.sleep(60)
            if told.get("build") == "fail":
                _say({"logs": [{**log, "data": _coded("error: no wheel for nunchaku\n")}]})
                error = 'process "/bin/sh -c uv pip sync" did not complete successfully: exit code: 2'
                _say({"vertexes": [{**vertex, "completed": _now(), "error": error}]})
                sys.exit("ERROR: failed to solve: " + error)
        _say({"vertexes": [{**vertex, "completed": _now(), "cached": number == 0}]})
    images = _read(f"{folder}/images.json", {})
    images[name] = labels
    _write(f"{folder}/images.json", images)
    _write(f"{folder}/about.json", {"manifest": labels.get(_LABEL, "")})


def _inspect(folder: str, name: str) -> None:
    images = _read(f"{folder}/images.json", {})
    by_id = {_id(each): each for each in images}
    name = by_id.get(name, name)
    if name not in images:
        sys.exit(f"Error response from daemon: No such image: {name}")
    layers = [f"sha256:{f'{number:012x}'.ljust(64, '0')}" for number in range(1, len(_HISTORY) + 1)]
    _say([{
        "Id": _id(name), "RepoDigests": [], "Size": sum(size for _, size in _HISTORY),
        "Created": "2026-11-28T10:00:00Z", "Config": {"Labels": images[name]}, "RootFS": {"Layers": layers},
        "Architecture": "amd64",
    }])  # fmt: skip


def _push(told: dict[str, Any], name: str) -> None:
    print(f"The push refers to repository [docker.io/{name.rpartition(':')[0]}]")
    ids = [f"{number:012x}" for number in range(1, len(_HISTORY) + 1)]
    for each in ids:
        print(f"{each}: Preparing")
    if told.get("push") == "denied":
        sys.exit("denied: requested access to the resource is denied")
    for number, each in enumerate(ids):
        print(f"{each}: {'Pushed' if number else 'Layer already exists'}", flush=True)
    print(f"{name.rpartition(':')[2]}: digest: sha256:{'5b' * 32} size: 1234")


def _run(folder: str, told: dict[str, Any], words: list[str]) -> None:
    name = words[words.index("--name") + 1]
    path = f"{folder}/containers/{name}"
    labels = [words[at + 1] for at, word in enumerate(words) if word == "--label"]
    _write(path, {"labels": labels, "pid": os.getpid()})
    try:
        if "--entrypoint" in words:
            print("tiny==1.0\npillow==11.0.0" if words[words.index("--entrypoint") + 1] == "uv" else _DU)
        elif told.get("run") == "fail":
            sys.exit("Traceback (most recent call last):\nImportError: libGL.so.1: cannot open shared object")
        elif told.get("run") == "hang":
            print("Loading custom nodes", flush=True)
            time.sleep(60)
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            _work(_read(f"{folder}/object_info.json", {}))
    finally:
        if os.path.exists(path):
            os.unlink(path)


def _work(nodes: dict[str, Any]) -> None:
    """Answer jobs until ended."""
    import urllib.request

    worker = os.environ["RUNPOD_POD_ID"]
    take = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", worker)
    done = os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$RUNPOD_POD_ID", worker)
    print("worker: ready", flush=True)
    while True:
        with urllib.request.urlopen(take, timeout=60) as answer:
            job = json.loads(answer.read() or b"null")
        if job is None:
            continue
        image = {"filename": "hello_00001_.png", "type": "base64", "data": _PICTURE}
        output = {"object_info": nodes} if "command" in job["input"] else {"images": [image]}
        body = json.dumps({"output": output}).encode()
        urllib.request.urlopen(done.replace("$ID", job["id"]), data=body, timeout=60).close()


def _remove(folder: str, names: list[str]) -> None:
    for name, container in _containers(folder):
        if name in names or _digest(name) in names:
            os.unlink(f"{folder}/containers/{name}")
            if container["pid"]:
                try:
                    os.kill(container["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    continue


def _containers(folder: str) -> list[tuple[str, dict[str, Any]]]:
    found = (
        (name, _read(f"{folder}/containers/{name}", None)) for name in os.listdir(f"{folder}/containers")
    )
    return [(name, container) for name, container in found if container is not None]


def _id(name: str) -> str:
    return f"sha256:{_digest(name)}"


def _digest(name: str) -> str:
    return f"{zlib.crc32(name.encode()):064x}"


def _coded(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _say(data: Any) -> None:
    print(json.dumps(data), flush=True)


def _read(path: str, otherwise: Any) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return otherwise


def _write(path: str, data: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file)
