"""``comfy-runpod``: every capability without a window. Imports little, so that ``--version`` is quick."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import FIRST_RUN, PROGRAM, __version__

COMMANDS = (
    "run",
    "check",
    "convert",
    "jobs",
    "comfyui",
    "endpoint",
    "account",
    "key",
    "spend",
    "sync",
    "image",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [-v] [FILE ...]\n       {PROGRAM} [-v] COMMAND ...",
        description="Run ComfyUI workflows on this computer and on RunPod as if both were one. "
        "Without a command the window opens, and the files given are queued.",
        epilog=f"For a first picture, without account, GPU or ComfyUI: {FIRST_RUN}",
    )
    parser.add_argument("--version", action="version", version=f"comfy-runpod {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what happens inside, on stderr")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_jobs(commands)
    _add_comfyui(commands)
    _add_endpoint(commands)
    _add_account(commands)
    _add_key(commands)
    _add_spend(commands)
    _add_sync(commands)
    _add_image(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run workflows and write their results")
    _add_files(run)
    run.add_argument("--output", metavar="DIR", help="where results go (default: the pictures folder)")
    run.add_argument("--anyway", action="store_true", help="send it though something is missing there")
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="limit for each job's execution")
    run.add_argument(
        "--ttl", type=float, metavar="SECONDS", help="limit for each job's waiting and execution together"
    )
    run.add_argument("--count", type=int, default=1, metavar="N", help="queue each workflow N times")
    _add_variations(run)
    run.add_argument("--json", action="store_true", help="print one JSON object for each ended job")


def _add_variations(run: argparse.ArgumentParser) -> None:
    many = run.add_argument_group("many jobs", "Every combination is a job; together they are a batch.")
    many.add_argument("--seeds", type=int, metavar="N", help="N different seeds, the workflow's own first")
    many.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUES",
        help="values for an input: a list (a,b,c) or a range (1..10, or 1..2:0.25 with a step); repeatable",
    )
    many.add_argument("--prompts", metavar="FILE", help="a text file with a prompt on each line")
    many.add_argument(
        "--pictures", metavar="[NODE.INPUT=]DIR", help="every picture of a folder as the input picture"
    )
    many.add_argument("--yes", action="store_true", help="send many jobs to RunPod without a question")


def _add_files(command: argparse.ArgumentParser) -> None:
    """Workflow files, where they run, and what shall be other than they say."""
    command.add_argument(
        "workflows",
        nargs="+",
        metavar="WORKFLOW",
        help="a workflow in either format (.json), or a picture, video or sound that ComfyUI saved",
    )
    command.add_argument(
        "--target", help="demo, local, or the id of a RunPod endpoint (default: RUNPOD_ENDPOINT_ID)"
    )
    command.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="[NAME=]PATH|DIR",
        help="an input file, under the name the workflow uses, or a folder that holds them; repeatable",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="change a value of the workflow; NODE is an id, a title or a type; repeatable",
    )


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="what workflows lack where they would run; sends nothing")
    _add_files(check)
    check.add_argument(
        "--ask-worker",
        action="store_true",
        help="have a worker say it, which is surest, and billed on RunPod",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object for each file")
    convert = commands.add_parser("convert", help="write a workflow in the API format, as the browser would")
    convert.add_argument("workflow", metavar="WORKFLOW", help="a workflow, or a file with one")
    convert.add_argument("-o", "--output", metavar="FILE", help="where to (default: stdout)")
    convert.add_argument("--target", help="whose node types count (default: RUNPOD_ENDPOINT_ID, or local)")


def _add_jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    jobs = commands.add_parser("jobs", help="list, show, cancel, retry, remove and wait for jobs")
    actions = jobs.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="the newest jobs, newest first")
    listed.add_argument("--limit", type=int, metavar="N", help="at most so many (20; of a batch all)")
    for name, text in (
        ("show", "all about a job, or a batch as one"),
        ("cancel", "cancel jobs"),
        ("retry", "run jobs again; of a batch those that failed, timed out or were cancelled"),
        ("remove", "take ended jobs off the list; their results stay"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("ids", nargs="*", metavar="ID", help="a job's id, or the beginning of it")
    wait = actions.add_parser("wait", help="take up unfinished jobs and see them to their end")
    wait.add_argument("ids", nargs="*", metavar="ID", help="default: all unfinished jobs")
    for action in actions.choices.values():
        action.add_argument(
            "--batch", metavar="ID", help="the jobs of a batch: its id, or the beginning of it"
        )
    actions.add_parser("times", help="how long workflows wait, start and run, as percentiles")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_comfyui(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    comfyui = commands.add_parser("comfyui", help="this computer's ComfyUI: install, start, route, nodes")
    actions = comfyui.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("start", help="start it, and leave it running")
    actions.add_parser("stop", help="end it")
    actions.add_parser("status", help="how it is; exit code 0 when it runs")
    launch = actions.add_parser("launch", help="run it with its Run button routed to RunPod, until Ctrl+C")
    launch.add_argument("--local", action="store_true", help="begin with the button on this computer")
    launch.add_argument("--browser", action="store_true", help="open its page")
    launch.add_argument("--open", action="store_true", help="open results as they arrive")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")
    _add_comfyui_install(actions)
    _add_comfyui_nodes(actions)


def _add_comfyui_install(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    install = actions.add_parser("install", help="install ComfyUI, or go on where an installation stopped")
    install.add_argument("folder", nargs="?", metavar="FOLDER", help="where to (default: ~/ComfyUI)")
    install.add_argument(
        "--from", dest="source", metavar="ADDRESS", help="of the git repository (ComfyUI's own)"
    )
    install.add_argument(
        "--version", metavar="NAME", help="a tag, branch or commit (default: newest release)"
    )
    install.add_argument(
        "--torch-index", metavar="ADDRESS", help="a Python index for PyTorch, as for CPU only"
    )
    install.add_argument("--python", metavar="VERSION", help="of Python, or the path of one (3.12)")
    install.add_argument(
        "--discard", action="store_true", help="remove an installation that was not finished"
    )
    install.add_argument("--json", action="store_true", help="print JSON")


def _add_comfyui_nodes(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    nodes = actions.add_parser("nodes", help="its custom nodes: list, install, update, disable, remove")
    whats = nodes.add_subparsers(dest="what", metavar="WHAT", required=True)
    listed = whats.add_parser("list", help="all of them, with version and how their import went")
    install = whats.add_parser("install", help="one from a git repository")
    install.add_argument("address", metavar="ADDRESS", help="of the git repository")
    update = whats.add_parser("update", help="to the newest state of their branch, or to a commit")
    for each in (install, update):
        each.add_argument("--commit", metavar="NAME", help="a commit, tag or branch (default: the newest)")
        each.add_argument(
            "--yes", action="store_true", help="change ComfyUI's environment without a question"
        )
    for name, text in (
        ("disable", "have ComfyUI pass over them"),
        ("enable", "the reverse"),
        ("remove", "move them to the system's bin"),
    ):
        whats.add_parser(name, help=text)
    for name in ("update", "disable", "enable", "remove"):
        whats.choices[name].add_argument("names", nargs="+", metavar="NAME", help="as `nodes list` has it")
    for each in (listed, *(each for name, each in whats.choices.items() if name != "list")):
        each.add_argument("--json", action="store_true", help="print JSON")


def _add_endpoint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    endpoint = commands.add_parser(
        "endpoint", help="the account's endpoints, an endpoint's health, the local one"
    )
    actions = endpoint.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = actions.add_parser("serve", help="serve RunPod's job API on loopback until Ctrl+C")
    serve.add_argument("--target", choices=("demo", "local"), default="demo")
    serve.add_argument("--workers", type=int, default=1, metavar="N", help="number of workers (demo only)")
    serve.add_argument("--port", type=int, default=0, help="0: any free one")
    health = actions.add_parser("health", help="jobs and workers of an endpoint")
    health.add_argument("--target", help="demo, local, or the id of a RunPod endpoint")
    purge = actions.add_parser("purge", help="remove an endpoint's waiting jobs, whoever sent them")
    purge.add_argument("--target", help="demo, local, or the id of a RunPod endpoint")
    purge.add_argument("--yes", action="store_true", help="without a question")
    listed = actions.add_parser("list", help="the endpoints of your RunPod account, with prices")
    changed = actions.add_parser("set", help="change an endpoint's workers, idle time or image")
    for name, text in (("min", "workers that are always on"), ("max", "workers at once, at most")):
        changed.add_argument(f"--{name}", type=int, metavar="N", help=text)
    changed.add_argument("--idle", type=int, metavar="SECONDS", help="how long a worker waits for a next job")
    changed.add_argument("--image", help="a new tag or digest, which begins a roll-out")
    workers = actions.add_parser("workers", help="the workers there are now, and the roll-out")
    logs = actions.add_parser("logs", help="what the workers print, and with --follow what they print next")
    logs.add_argument("--worker", metavar="ID", help="only this one's (default: all there are)")
    logs.add_argument(
        "--source", choices=("container", "system"), help="programs, or what RunPod says (default: both)"
    )
    logs.add_argument("--tail", type=int, default=100, metavar="N", help="earlier lines of each (100)")
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl+C, or until the worker goes")
    for action in (changed, workers, logs):
        action.add_argument("id", nargs="?", metavar="ID", help="default: the endpoint that is set")
    for action in (serve, health, purge, listed, changed, workers, logs):
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_account(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    account = commands.add_parser("account", help="GPUs with their prices, and your network volumes")
    actions = account.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("gpus", "what endpoints can run on, what it costs and how much is free; the cheapest first"),
        ("volumes", "the network volumes of your RunPod account"),
    ):
        actions.add_parser(name, help=text).add_argument("--json", action="store_true", help="print JSON")


def _add_key(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    key = commands.add_parser("key", help="keep RunPod's keys in the system's keyring, and test them")
    actions = key.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("set", "ask for a key, or read it from stdin, and keep it"),
        ("forget", "remove a key from the keyring"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument(
            "which",
            nargs="?",
            choices=("api", "s3-access", "s3-secret"),
            default="api",
            metavar="KEY",
            help="api (the default), or s3-access and s3-secret: the volume's S3 key",
        )
    actions.add_parser("test", help="ask RunPod whether it accepts the API key")


def _add_spend(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spend = commands.add_parser("spend", help="what RunPod jobs cost, by day, workflow and endpoint")
    spend.add_argument("--days", type=int, default=7, metavar="N", help="today and the days before it")
    spend.add_argument("--check", action="store_true", help="set it against RunPod's bill")
    spend.add_argument("--json", action="store_true", help="print JSON")


def _add_sync(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sync = commands.add_parser(
        "sync",
        help="bring models to a network volume, and from it",
        description="Sends the models that only this computer has to the volume. Nothing is overwritten or "
        "deleted, on either side, unless it is named.",
    )
    sync.add_argument("models_dir", nargs="?", metavar="MODELS_DIR", help="else ComfyUI's own models folder")
    sync.add_argument("volume_id", nargs="?", metavar="VOLUME_ID", help="else the volume that is set")
    sync.add_argument(
        "--transport", choices=("s3", "runpodctl"), default="s3",
        help="the volume's S3 API (the default), or a one-time code for a running pod",
    )  # fmt: skip
    sync.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    sync.add_argument("--verify", action="store_true", help="then compare the contents of all files")
    sync.add_argument("--size-only", action="store_true", help="files of one size count as the same, unread")
    sync.add_argument("--limit-rate", metavar="RATE", help="bytes per second, as 10M")
    for name, text in (
        ("include", "only files whose name or path fits the pattern, as loras/* or *.safetensors"),
        ("exclude", "no files that fit the pattern"),
        ("overwrite", "a file of the volume that the one here may replace, as loras/x.safetensors"),
        ("delete", "a file of the volume to delete, by its path"),
    ):
        metavar = "PATTERN" if name in ("include", "exclude") else "PATH"
        sync.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=text)
    sync.add_argument("--download", action="store_true", help="also fetch what only the volume has")
    sync.add_argument(
        "--results", metavar="DIR", help="instead fetch results that workers left on the volume"
    )
    sync.add_argument("--data-centre", metavar="ID", help="where the volume is, if RunPod cannot be asked")
    sync.add_argument("--json", action="store_true", help="print what happens as JSON, a line each")


def _add_image(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    image = commands.add_parser(
        "image", help="the image that runs on RunPod: lock, build, test, push, deploy"
    )
    actions = image.add_subparsers(dest="action", metavar="ACTION", required=True)
    manifest = actions.add_parser("manifest", help="what it holds, held against this computer's ComfyUI")
    manifest.add_argument("--match-local", action="store_true", help="make it as this computer; show how")
    manifest.add_argument("--yes", action="store_true", help="write it")
    lock = actions.add_parser("lock", help="find Python packages that suit ComfyUI and all its nodes")
    lock.add_argument("--prefer-local", action="store_true", help="versions of this computer where they suit")
    lock.add_argument("--upgrade", action="store_true", help="the newest of everything")
    build = actions.add_parser("build", help="build it with Docker")
    build.add_argument("--no-cache", action="store_true", help="build every step anew")
    build.add_argument("--network", metavar="NAME", help="of the build's steps, such as host")
    test = actions.add_parser("test", help="run it here as RunPod does, and compare it with this computer")
    test.add_argument("--workflow", metavar="FILE", help="what to run in it (default: one without models)")
    test.add_argument("--output", metavar="DIR", help="where to put what it makes")
    actions.add_parser("scan", help="known vulnerabilities of what it holds; with --tag also of the image")
    actions.add_parser("layers", help="how large its layers are, and what is in them")
    actions.add_parser("push", help="send it to its registry")
    deploy = actions.add_parser("deploy", help="give an endpoint on RunPod the image, and follow that")
    deploy.add_argument("--endpoint", metavar="ID", help="of the endpoint (default: RUNPOD_ENDPOINT_ID)")
    deploy.add_argument("--image", metavar="NAME", help="a whole name, as with a digest, in place of a tag")
    deploy.add_argument("--back", action="store_true", help="give it the image that it had before")
    actions.add_parser("history", help="what was built, tested, pushed and deployed")
    for name, action in actions.choices.items():
        if name not in ("manifest", "lock", "history"):
            action.add_argument("--tag", help="of the image (default: the last built; to build: a new one)")
            action.add_argument("--registry", help="account or host with path (default: DOCKER_REGISTRY)")
        action.add_argument("--folder", metavar="DIR", help="of manifest.yaml and its lock")
        action.add_argument("--json", action="store_true", help="print JSON, one object a line")


def _window_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, usage=f"{PROGRAM} [-v] [FILE ...]", add_help=False)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.set_defaults(command=None)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 for success, 1 for failure, 2 for a wrong call, 130 for Ctrl+C."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _parser()
    first = next((word for word in words if not word.startswith("-")), None)
    if first in COMMANDS or any(word in ("-h", "--help", "--version") for word in words):
        arguments = parser.parse_args(words)
    else:
        arguments = _window_parser().parse_args(words)
    # Imported only now: these bring the whole program with them.
    from .commands import dispatch

    return dispatch(arguments)


if __name__ == "__main__":
    sys.exit(main())
