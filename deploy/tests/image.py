"""The image that the Dockerfile describes, as a folder: what its last stage copies, run as its user, and nothing else to run on."""

import json
import re
import shutil
import subprocess
from pathlib import Path

CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
DOCKERFILE = Path(__file__).parent.parent / "docker" / "Dockerfile"


class Image:
    def __init__(self, root: Path, binary: Path):
        self.root = root
        stage = re.split(r"^FROM .*\n", DOCKERFILE.read_text(), flags=re.M)[-1]
        stage = re.sub(r"\\\n", " ", stage)
        instruction = {name: text.strip() for name, text in re.findall(r"^([A-Z]+) (.*)$", stage, flags=re.M)}
        self.user = instruction["USER"]
        self.entrypoint = json.loads(instruction["ENTRYPOINT"])
        self.command = json.loads(instruction["CMD"])
        self.healthcheck = json.loads(instruction["HEALTHCHECK"].split(" CMD ", 1)[1])
        for source, target in re.findall(r"^COPY --from=build (\S+) (\S+)$", stage, flags=re.M):
            source = binary if source == "/out/metabase-token-service" else Path(source)
            self.path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, self.path(target))

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def write(self, absolute: str, content: str | bytes, mode: int = 0o444) -> Path:
        """A file of another owner, as a mounted one is; mode 0440 is readable by the group, as with fsGroup."""
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        shutil.chown(fresh, 0, int(self.user.split(":")[1]))
        fresh.chmod(mode)
        fresh.rename(path)
        return path

    def arguments(self, *command: str) -> list[str]:
        return [CHROOT, f"--userspec={self.user}", str(self.root), *command]

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(self.arguments(*command), env={}, text=True, capture_output=True, timeout=30, **options)
