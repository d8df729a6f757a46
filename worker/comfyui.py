"""Talking to ComfyUI: HTTP, and one lasting websocket whose events are handed to whoever follows a prompt.

Knows ComfyUI's protocol and nothing of jobs. Supported: ComfyUI 0.3.64 and newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from .contract import LOCAL_HEADER
from .errors import ComfyUnavailable, JobError
from .refusal import refused

#: Frames of the websocket that carry a preview picture.
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
#: The oldest that is supported; it interrupts one prompt by its id.
_FIRST_WITH_INTERRUPT_BY_ID = (0, 3, 64)
#: Long, since a node that holds the interpreter silences ComfyUI, and a new connection gets no events of
#: the prompt that runs. One that died is noticed without any heartbeat.
_HEARTBEAT_S = 120
#: Seconds of a large installation whose models lie on a slow disk.
_OBJECT_INFO_S = 180
_TRANSPORT_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Event:
    """One message about one prompt. ``preview`` is set for ``kind == "preview"`` only."""

    kind: str
    data: Mapping[str, Any]
    preview: bytes | None = None


class ComfyClient:
    """One ComfyUI server.

    Args:
        url: like ``http://127.0.0.1:8188``.
        timeout_s: for each HTTP request.
        on_sign: called at each sign of life.
        local_key: for an interception node, so that our prompts run there wherever its button is routed.

    Must be used inside one event loop; :meth:`close` ends its task and session.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30,
        on_sign: Callable[[], None] = lambda: None,
        local_key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {LOCAL_HEADER: local_key} if local_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        #: Set when an attempt at the websocket has ended either way; ``_hurry`` asks for one at once.
        self._attempted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._on_sign = on_sign
        self._client_id = ""
        #: The last answer of ``/system_stats``.
        self.stats: dict[str, Any] = {}
        self._followers: dict[str, asyncio.Queue[Event]] = {}

    # -- websocket ------------------------------------------------------------------------------------

    async def connect(self, timeout_s: float = 5) -> bool:
        """Have the websocket open, so that no message of a prompt sent afterwards is missed.

        Whether it is open: one attempt is waited for, and goes on being made afterwards. A ComfyUI that
        refuses it can be followed by asking.
        """
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_events(), name="comfyui-events")
        if not self._connected.is_set():
            self._attempted.clear()
            self._hurry.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._attempted.wait()
        return self._connected.is_set()

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def follow(self, prompt_id: str) -> asyncio.Queue[Event]:
        """The queue into which all events of ``prompt_id`` go from now on; end with :meth:`unfollow`."""
        return self._followers.setdefault(prompt_id, asyncio.Queue())

    def unfollow(self, prompt_id: str) -> None:
        self._followers.pop(prompt_id, None)

    async def _read_events(self) -> None:
        pause = 0.1
        while True:
            # Each connection has its own id: an old one that closes late would silence a new one of its name.
            self._client_id = uuid.uuid4().hex
            self._hurry.clear()
            try:
                async with self._http().ws_connect(
                    f"{self.url}/ws?clientId={self._client_id}", max_msg_size=0, heartbeat=_HEARTBEAT_S
                ) as socket:
                    await socket.send_json(
                        {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
                    )
                    if (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                        self._connected.set()
                        self._attempted.set()
                        pause = 0.1
                    async for message in socket:
                        self._dispatch(message)
            except _TRANSPORT_ERRORS:
                pass
            finally:
                self._connected.clear()
                self._attempted.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            self._hurry.clear()
            pause = min(pause * 2, 2.0)

    def _dispatch(self, message: aiohttp.WSMessage) -> None:
        self._on_sign()
        if message.type is aiohttp.WSMsgType.TEXT:
            try:
                parsed = json.loads(message.data)
                kind, data = parsed["type"], parsed.get("data") or {}
                prompt_id = data.get("prompt_id")
            except (ValueError, KeyError, TypeError, AttributeError):
                return
            self._hand_over(prompt_id, Event(str(kind), data))
        elif message.type is aiohttp.WSMsgType.BINARY:
            event = _preview_event(message.data)
            if event is not None:
                self._hand_over(event.data.get("prompt_id"), event)

    def _hand_over(self, prompt_id: object, event: Event) -> None:
        if isinstance(prompt_id, str):
            queue = self._followers.get(prompt_id)
            if queue is not None:
                queue.put_nowait(event)
        elif event.kind == "preview":
            # Without metadata a preview says not whose it is: it is the one running prompt's.
            for queue in self._followers.values():
                queue.put_nowait(event)

    # -- HTTP -----------------------------------------------------------------------------------------

    async def system_stats(self) -> dict[str, Any]:
        """ComfyUI's version, memory and devices."""
        stats = _object(await self._get("/system_stats"))
        if not isinstance(stats.get("system"), dict):
            raise ComfyUnavailable(
                f"What answers at {self.url} is not ComfyUI.", hint="Is the address (COMFYUI_URL) right?"
            )
        self.stats = stats
        return stats

    async def is_answering(self, timeout_s: float = 2.0) -> bool:
        """Whether it answers the cheapest question there is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._get("/prompt")
        except (ComfyUnavailable, TimeoutError):
            return False
        return True

    async def wait_ready(
        self, timeout_s: float, hopeless: Callable[[], ComfyUnavailable | None] = lambda: None
    ) -> None:
        """Wait for the first answer of ``/system_stats``; no longer once ``hopeless`` says why.

        Raises:
            ComfyUnavailable: when none came in time.
        """
        problem = ComfyUnavailable(
            f"ComfyUI at {self.url} did not answer within {timeout_s:g} s.",
            hint="ComfyUI may be busy or stuck: look at its log.",
        )
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        await self.system_stats()
                        return
                    except ComfyUnavailable as error:
                        problem = error
                    if (reason := hopeless()) is not None:
                        problem = reason
                        break
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        raise problem from None

    async def submit(
        self, prompt: Mapping[str, Any], prompt_id: str, extra_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Queue a prompt under our own id; the answer's ``node_errors`` (of outputs that will not run).

        Raises:
            JobError: ``validation_failed`` with ComfyUI's own answer, ``comfyui_error`` when it broke.
            ComfyUnavailable: when ComfyUI does not answer.
        """
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": self._client_id,
            "extra_data": dict(extra_data),
        }
        status, answer = await self._request("POST", "/prompt", body)
        if status == 200:
            return _object(_object(answer).get("node_errors"))
        raise refused(status, answer)

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The ended prompt's entry, or None while there is none."""
        entry = _object(await self._get(f"/history/{prompt_id}")).get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def where(self, prompt_id: str) -> str | None:
        """``"running"``, ``"pending"`` or None, from ComfyUI's queue."""
        queue = _object(await self._get("/queue"))
        for key, word in (("queue_running", "running"), ("queue_pending", "pending")):
            for item in queue.get(key) or []:
                if isinstance(item, list) and len(item) > 1 and item[1] == prompt_id:
                    return word
        return None

    async def withdraw(self, prompt_id: str) -> None:
        """Stop this prompt and no other, and see it gone; the caller sets the time limit.

        Asked again each second: a prompt that begins between the two questions has heard neither.
        """
        while True:
            await self._ask_to_stop(prompt_id)
            for _ in range(10):
                if await self.where(prompt_id) is None:
                    return
                await asyncio.sleep(0.1)

    async def _ask_to_stop(self, prompt_id: str) -> None:
        """Have it deleted when it waits, interrupted when it runs."""

        async def delete() -> None:
            await self._request("POST", "/queue", {"delete": [prompt_id]})

        async def interrupt() -> None:
            await self._request("POST", "/interrupt", {"prompt_id": prompt_id})

        if _version(self.stats) >= _FIRST_WITH_INTERRUPT_BY_ID:
            # At once and together: a busy ComfyUI takes tenths of a second for each answer.
            answers = await asyncio.gather(interrupt(), delete(), return_exceptions=True)
            for failed in (answer for answer in answers if isinstance(answer, BaseException)):
                raise failed
            return
        await delete()
        # One that ignores the id would stop whatever runs.
        if await self.where(prompt_id) == "running":
            await interrupt()

    async def forget_history(self, prompt_id: str) -> None:
        """Drop an ended prompt's entry, so that the same id can run again and is not taken for ended."""
        await self._request("POST", "/history", {"delete": [prompt_id]})

    async def forget_cache(self) -> None:
        """Have ComfyUI drop its execution cache, so that a repeated prompt writes its files anew."""
        await self._request("POST", "/free", {"unload_models": False, "free_memory": True})

    async def log_lines(self, lines: int) -> list[str]:
        """The last lines of ComfyUI's own log; empty when it does not answer."""
        try:
            raw = _object(await self._get("/internal/logs/raw")).get("entries") or []
        except JobError:
            return []
        text = "".join(str(entry.get("m", "")) for entry in raw if isinstance(entry, dict))
        return text.splitlines()[-lines:]

    async def model_names(self, kind: str) -> list[str]:
        """File names of a kind of models; empty when ComfyUI does not know the kind or does not answer."""
        try:
            return await self.model_list(kind)
        except JobError:
            return []

    # -- what there is --------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, ...]:
        """As the last answer of ``/system_stats`` told it; empty when unknown."""
        return _version(self.stats)

    async def object_info(self, class_type: str | None = None) -> str:
        """The text of ``/object_info``, of all node types or of one. To read megabytes is for a thread.

        Raises:
            ComfyUnavailable: when ComfyUI does not answer, or with another status than 200.
        """
        path = "/object_info" if class_type is None else f"/object_info/{quote(class_type, safe='')}"
        limit = aiohttp.ClientTimeout(total=_OBJECT_INFO_S)
        try:
            async with self._http().get(self.url + path, timeout=limit) as response:
                text = await response.text(errors="replace")
        except _TRANSPORT_ERRORS as error:
            raise _silent(self.url, error) from error
        self._on_sign()
        if response.status != 200:
            raise ComfyUnavailable(f"ComfyUI answers /object_info with status {response.status}.")
        return text

    async def replaced_types(self) -> list[str]:
        """Node types that ComfyUI replaces by others in a workflow it gets; older ones replace none."""
        status, answer = await self._request("GET", "/node_replacements")
        return list(_object(answer)) if status == 200 else []

    async def model_folders(self) -> dict[str, list[str]]:
        """The kinds of models, each with its folders as far as ComfyUI tells them."""
        status, answer = await self._request("GET", "/experiment/models")
        if status == 200 and isinstance(answer, list):
            kinds = [kind for kind in answer if isinstance(kind, dict) and isinstance(kind.get("name"), str)]
            return {kind["name"]: [str(folder) for folder in kind.get("folders") or ()] for kind in kinds}
        names = await self._get("/models")
        return {str(name): [] for name in names} if isinstance(names, list) else {}

    async def model_list(self, kind: str) -> list[str]:
        """As :meth:`model_names`, but a ComfyUI that does not answer is an error."""
        status, names = await self._request("GET", f"/models/{quote(kind, safe='')}")
        return [str(name) for name in names] if status == 200 and isinstance(names, list) else []

    async def model_sizes(self, kind: str) -> dict[str, int]:
        """Sizes by name; empty when ComfyUI does not tell them."""
        status, listed = await self._request("GET", f"/experiment/models/{quote(kind, safe='')}")
        entries = listed if status == 200 and isinstance(listed, list) else []
        found = [each for each in entries if isinstance(each, dict) and isinstance(each.get("size"), int)]
        # Of files with the same name the first folder's is the one that is loaded.
        return {str(each.get("name")): each["size"] for each in reversed(found)}

    async def lacks_file(self, name: str, folder: str) -> bool:
        """Whether ComfyUI says that it has no such file in its ``input``, ``output`` or ``temp`` folder."""
        subfolder, _, filename = name.replace("\\", "/").rpartition("/")
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": folder})
        try:
            # Only the beginning of the answer is of interest.
            async with self._http().get(f"{self.url}/view?{query}") as response:
                return response.status == 404
        except _TRANSPORT_ERRORS as error:
            raise _silent(self.url, error) from error

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        return self._session

    async def _get(self, path: str) -> Any:
        status, answer = await self._request("GET", path)
        if status != 200:
            raise ComfyUnavailable(f"ComfyUI answers {path} with status {status}.")
        return answer

    async def _request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        try:
            async with self._http().request(method, self.url + path, json=body) as response:
                text = await response.text(errors="replace")
                self._on_sign()
                try:
                    return response.status, json.loads(text) if text else None
                except ValueError:
                    return response.status, text[:2000]
        except _TRANSPORT_ERRORS as error:
            raise _silent(self.url, error) from error


def _silent(url: str, error: Exception) -> ComfyUnavailable:
    return ComfyUnavailable(
        f"ComfyUI at {url} is not answering ({type(error).__name__}).",
        hint="Start ComfyUI, or look at its log.",
    )


def _version(stats: Mapping[str, Any]) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", str(_object(stats.get("system")).get("comfyui_version")))
    return tuple(int(part) for part in found.groups()) if found else ()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _preview_event(frame: bytes) -> Event | None:
    if len(frame) < 8:
        return None
    (kind,) = struct.unpack_from(">I", frame)
    if kind == _PREVIEW:
        return Event("preview", {}, frame[8:])
    if kind == _PREVIEW_WITH_METADATA:
        (length,) = struct.unpack_from(">I", frame, 4)
        try:
            data = json.loads(frame[8 : 8 + length])
        except ValueError:
            return None
        return Event("preview", _object(data), frame[8 + length :])
    return None
