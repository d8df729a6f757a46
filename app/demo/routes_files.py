"""``/view`` and the uploads."""

from __future__ import annotations

import asyncio
import io
import json
import mimetypes
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.demo.files import KINDS, Folders, OutsideFolder, inside, split_annotation

# A browser must not run what a workflow wrote.
_NEVER_SHOWN = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}


class FileRoutes:
    """Reads and writes files of the engine's folders for clients."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    async def view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        found = self._find(
            query.get("filename", ""),
            query.get("type", "output"),
            query.get("subfolder", ""),
            "filename" in query,
        )
        if isinstance(found, int):
            return web.Response(status=found)
        headers = {"Content-Disposition": f'filename="{found.name}"'}
        channel = query.get("channel", "rgba")
        if "preview" in query:
            kind, data = await asyncio.to_thread(_preview, found, query["preview"], query.get("channel", ""))
            return web.Response(body=data, content_type=f"image/{kind}", headers=headers)
        if channel in ("rgb", "a"):
            data = await asyncio.to_thread(_channel, found, channel)
            return web.Response(body=data, content_type="image/png", headers=headers)
        content_type = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        if content_type in _NEVER_SHOWN:
            content_type = "application/octet-stream"
        return web.FileResponse(found, headers={**headers, "Content-Type": content_type})

    def _find(self, filename: str, kind: str, subfolder: str, given: bool) -> Path | int:
        """The file, or the answer's status."""
        if not given:
            return 404
        name, annotated = split_annotation(filename)
        folder = self._folders.of_kind(annotated or kind)
        if not name or name.startswith("/") or ".." in name or folder is None:
            return 400
        try:
            path = inside(inside(folder, subfolder), Path(name).name)
        except OutsideFolder:
            return 404 if "\0" in name + subfolder else 403
        return path if path.is_file() else 404

    async def upload_image(self, request: web.Request) -> web.Response:
        return await self._upload(dict(await request.post()), is_mask=False)

    async def upload_mask(self, request: web.Request) -> web.Response:
        return await self._upload(dict(await request.post()), is_mask=True)

    async def _upload(self, form: dict[str, Any], *, is_mask: bool) -> web.Response:
        kind, field = form.get("type", "input"), form.get("image")
        if kind not in KINDS:
            raise web.HTTPInternalServerError(
                text="500 Internal Server Error\n\nServer got itself in trouble"
            )
        if not isinstance(field, web.FileField) or not field.filename:
            return web.Response(status=400)
        folder, subfolder = self._folders.of_kind(kind), str(form.get("subfolder", ""))
        if folder is None:
            return web.Response(status=400)
        overwrite = form.get("overwrite") in ("true", "1")
        try:
            target_folder = inside(folder, subfolder)
            inside(folder, str(Path(subfolder) / field.filename))
        except OutsideFolder:
            return web.Response(status=400)
        content = await asyncio.to_thread(field.file.read)
        reference = json.loads(form["original_ref"]) if is_mask else None
        try:
            name = await asyncio.to_thread(
                self._store, target_folder, field.filename, content, overwrite, reference
            )
        except OutsideFolder:
            return web.Response(status=400)
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})

    def _store(
        self, folder: Path, filename: str, content: bytes, overwrite: bool, reference: dict[str, Any] | None
    ) -> str:
        """Write the file and return its name, which differs when another one has the name asked for."""
        folder.mkdir(parents=True, exist_ok=True)
        name, number = filename, 0
        stem, suffix = filename.removesuffix(Path(filename).suffix), Path(filename).suffix
        while not overwrite and (folder / name).exists():
            if (folder / name).read_bytes() == content:
                return name
            number += 1
            name = f"{stem} ({number}){suffix}"
        if reference is None:
            (folder / name).write_bytes(content)
        else:
            self._store_masked(folder / name, content, reference)
        return name

    def _store_masked(self, target: Path, content: bytes, reference: dict[str, Any]) -> None:
        """Write the referenced picture with the alpha of ``content``; nothing when it is absent."""
        original = self._find(
            str(reference["filename"]), reference.get("type", "output"), reference.get("subfolder", ""), True
        )
        if isinstance(original, int):
            return
        with Image.open(original) as picture, Image.open(io.BytesIO(content)) as mask:
            info = PngInfo()
            for key, value in getattr(picture, "text", {}).items():
                info.add_text(key, value)
            masked = picture.convert("RGBA")
            masked.putalpha(mask.convert("RGBA").getchannel("A"))
        masked.save(target, format="PNG" if not target.suffix else None, compress_level=4, pnginfo=info)


def _preview(path: Path, asked: str, channel: str) -> tuple[str, bytes]:
    """``webp;90`` or ``jpeg;80``: the picture re-encoded at its own size. Returns format and bytes."""
    words = asked.split(";")
    kind = words[0] if words[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(words[-1]) if words[-1].isdigit() else 90
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        image = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        image.save(buffer, format=kind, quality=quality)
    return kind, buffer.getvalue()


def _channel(path: Path, channel: str) -> bytes:
    """A PNG of the colours without alpha, or of the alpha alone."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        if channel == "rgb":
            result = picture.convert("RGB")
        else:
            alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
            result = Image.new("RGBA", picture.size)
            result.putalpha(alpha)
        result.save(buffer, format="PNG")
    return buffer.getvalue()
