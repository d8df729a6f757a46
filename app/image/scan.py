"""Known vulnerabilities of what an image holds: its lock files by pip-audit, the image by trivy or grype."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import requests

from worker.process import clean_environment

from ..comfyui.programs import HOME, run
from ..errors import ComfyRunPodError, ProcessFailed

#: A Python auditor of the Python Packaging Authority; uv runs it in an environment of its own.
AUDITOR = "pip-audit>=2.9,<3"
OSV = "https://api.osv.dev/v1"
_MOST_ASKED = 60
_TIMEOUT_S = 10.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


class Severity(IntEnum):
    """The worst last."""

    UNKNOWN = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


_WORDS = {
    "critical": Severity.CRITICAL, "high": Severity.HIGH, "important": Severity.HIGH,
    "moderate": Severity.MEDIUM, "medium": Severity.MEDIUM, "low": Severity.LOW, "negligible": Severity.LOW,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a package.

    Attributes:
        id: as ``GHSA-…``, ``PYSEC-…`` or ``CVE-…``.
        where: which lock file, or the image.
        fixed_in: the lowest version without it; empty when none is known.
        aliases: its other ids.
    """

    id: str
    package: str
    version: str
    severity: Severity
    title: str
    where: str
    fixed_in: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def rated_as(self) -> str:
        """Of its ids the one under which the database has a severity: GitHub's, where there is one."""
        return next((each for each in self.aliases if each.startswith("GHSA-")), self.id)


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found, the worst first.

    Attributes:
        notes: what could not be looked at, and why, a sentence each: nothing found is not nothing there.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    looked_at: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [
                {
                    "id": each.id, "package": each.package, "version": each.version,
                    "severity": each.severity.name.lower(), "title": each.title, "where": each.where,
                    "fixed_in": each.fixed_in,
                }
                for each in self.findings
            ],
            "notes": list(self.notes),
            "looked_at": list(self.looked_at),
        }  # fmt: skip


async def scan(uv: Path, locks: Sequence[Path], image: str | None, *, osv: str = OSV) -> Scan:
    """Look at lock files, and at an image when a scanner is on the path. Never raises for what it finds.

    Args:
        osv: the address of the database of vulnerabilities.
    """
    findings: list[Finding] = []
    notes: list[str] = []
    looked_at: list[str] = []
    for lock in locks:
        try:
            found, skipped, total = await audit(uv, lock, osv=osv)
        except ComfyRunPodError as error:
            notes.append(f"{lock.name} was not checked: {error.summary}")
            continue
        findings += found
        if skipped:
            notes.append(f"{skipped} of {total} packages of {lock.name} could not be checked.")
        if skipped < total:
            looked_at.append(lock.name)
    if image is not None:
        scanner = next((name for name in ("trivy", "grype") if shutil.which(name)), None)
        if scanner is None:
            notes.append("The image itself was not scanned: neither trivy nor grype is installed.")
        else:
            try:
                findings += await _scan_image(scanner, image)
                looked_at.append(f"the image, with {scanner}")
            except ComfyRunPodError as error:
                notes.append(f"The image itself was not scanned: {error.summary}")
    unrated = dict.fromkeys(each.rated_as for each in findings if each.severity is Severity.UNKNOWN)
    severities = await asyncio.to_thread(_severities, osv, list(unrated))
    rated = (_rated(each, severities) for each in findings)
    return Scan(
        tuple(sorted(rated, key=lambda each: (-each.severity, each.package, each.id))),
        tuple(notes),
        tuple(looked_at),
    )


async def audit(uv: Path, lock: Path, *, osv: str = OSV) -> tuple[list[Finding], int, int]:
    """What pip-audit finds in a lock file, how many packages it could not check, and how many there are.

    Raises:
        ProcessFailed: when it does not run.
    """
    with tempfile.TemporaryDirectory(prefix="comfy-runpod-audit-") as name:
        out = Path(name) / "audit.json"
        argv = [
            str(uv), "tool", "run", "--from", AUDITOR, "pip-audit", "--requirement", str(lock),
            "--disable-pip", "--require-hashes", "--vulnerability-service", "osv",
            "--osv-url", f"{osv}/query", "--format", "json", "--output", str(out),
            "--progress-spinner", "off",
        ]  # fmt: skip
        keep = (*HOME, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        env = {
            name: value for name, value in clean_environment({"NO_COLOR": "1"}, keep=keep).items() if value
        }
        ended = await run(argv, env=env)
        try:
            data: Any = json.loads(await asyncio.to_thread(out.read_text, encoding="utf-8"))
            packages = [each for each in data["dependencies"] if isinstance(each, dict)]
        except (OSError, ValueError, TypeError, KeyError):
            said = next((line for line in reversed(ended.lines) if line.strip()), "it said nothing")
            if "ConnectionError" in said:
                said = "the database of vulnerabilities cannot be reached"
            raise ProcessFailed(
                f"pip-audit did not run: {said.strip()[:200]}.", log=list(ended.lines[-50:])
            ) from None
    found = [
        _finding(vuln, str(each.get("name")), str(each.get("version")), lock.name)
        for each in packages
        for vuln in each.get("vulns") or []
        if isinstance(vuln, dict)
    ]
    return found, sum("skip_reason" in each for each in packages), len(packages)


def _finding(vuln: Mapping[str, Any], package: str, version: str, where: str) -> Finding:
    fixes = vuln.get("fix_versions")
    fixed = str(fixes[0])[:60] if isinstance(fixes, list) and fixes else ""
    lines = str(vuln.get("description") or "").strip().splitlines() or [""]
    others = vuln.get("aliases")
    aliases = tuple(str(each)[:80] for each in others[:20]) if isinstance(others, list) else ()
    return Finding(
        str(vuln.get("id"))[:80], package[:100], version[:60], Severity.UNKNOWN, lines[0][:200], where, fixed,
        aliases,
    )  # fmt: skip


async def _scan_image(scanner: str, image: str) -> list[Finding]:
    """Raises ProcessFailed."""
    words = {
        "trivy": ["image", "--quiet", "--format", "json", "--scanners", "vuln", image],
        "grype": ["--quiet", "--output", "json", f"docker:{image}"],
    }
    program = shutil.which(scanner) or scanner
    keep = (*HOME, "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
    with tempfile.TemporaryDirectory(prefix="comfy-runpod-scan-") as name:
        out = Path(name) / "scan.json"
        where = ["--output", str(out)] if scanner == "trivy" else ["--file", str(out)]
        ended = await run([program, *words[scanner], *where], env=clean_environment({}, keep=keep))
        try:
            data = json.loads(await asyncio.to_thread(out.read_text, encoding="utf-8"))
        except (OSError, ValueError):
            said = next((line for line in reversed(ended.lines) if line.strip()), "it said nothing")
            raise ProcessFailed(f"{scanner} did not run: {said.strip()[:200]}") from None
    return trivy_findings(data) if scanner == "trivy" else grype_findings(data)


def trivy_findings(data: Any) -> list[Finding]:
    """What ``trivy image --format json`` says."""
    found: list[Finding] = []
    for result in _dicts(data, "Results"):
        for each in _dicts(result, "Vulnerabilities"):
            found.append(
                Finding(
                    _text(each, "VulnerabilityID"),
                    _text(each, "PkgName"),
                    _text(each, "InstalledVersion"),
                    _severity(each.get("Severity")),
                    _text(each, "Title"),
                    "image",
                    _text(each, "FixedVersion"),
                )
            )
    return found


def grype_findings(data: Any) -> list[Finding]:
    """What ``grype --output json`` says."""
    found: list[Finding] = []
    for match in _dicts(data, "matches"):
        about, thing = match.get("vulnerability"), match.get("artifact")
        if not isinstance(about, dict) or not isinstance(thing, dict):
            continue
        fix = about.get("fix")
        versions = fix.get("versions") if isinstance(fix, dict) else None
        fixed = str(versions[0])[:60] if isinstance(versions, list) and versions else ""
        found.append(
            Finding(
                _text(about, "id"),
                _text(thing, "name"),
                _text(thing, "version"),
                _severity(about.get("severity")),
                _text(about, "description"),
                "image",
                fixed,
            )
        )
    return found


def _severities(osv: str, ids: Sequence[str]) -> dict[str, Severity]:
    """How bad they are, as far as the database tells. Blocks; what cannot be asked stays unknown."""
    found: dict[str, Severity] = {}
    for name in [each for each in ids if _ID.fullmatch(each)][:_MOST_ASKED]:
        try:
            answer = requests.get(f"{osv}/vulns/{name}", timeout=_TIMEOUT_S)
            data = answer.json()
        except (requests.RequestException, ValueError):
            break
        told = data.get("database_specific") if isinstance(data, dict) else None
        found[name] = _severity(told.get("severity") if isinstance(told, dict) else None)
    return found


def _rated(finding: Finding, severities: Mapping[str, Severity]) -> Finding:
    if finding.severity is not Severity.UNKNOWN:
        return finding
    return replace(finding, severity=severities.get(finding.rated_as, Severity.UNKNOWN))


def _severity(word: Any) -> Severity:
    return _WORDS.get(word.lower(), Severity.UNKNOWN) if isinstance(word, str) else Severity.UNKNOWN


def _dicts(data: Any, name: str) -> list[Mapping[str, Any]]:
    value = data.get(name) if isinstance(data, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value[:200] if isinstance(value, str) else ""
