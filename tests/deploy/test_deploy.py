"""The image and the unit of `assets/deploy` start the server that they describe."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from web_server import until

from jointembed import Index
from jointembed.__main__ import main

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "assets" / "deploy"
OPTION = re.compile(r"--[a-z][a-z-]*")


def usage(command, capsys):
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def service():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(DEPLOY / "jointembed.service")
    return parser["Service"]


def test_both_start_jointembed_with_options_that_exist(capsys):
    image = (DEPLOY / "Dockerfile").read_text()
    commands = [
        [*json.loads(re.search("ENTRYPOINT (.*)", image)[1]), *json.loads(re.search("\nCMD (.*)", image)[1])],
        shlex.split(service()["ExecStart"]),
    ]
    for program, command, *words in commands:
        assert Path(program).name == "jointembed"
        options = [word for word in words if OPTION.fullmatch(word)]
        assert options and all(option in usage(command, capsys) for option in options)


def test_the_build_context_holds_what_the_image_copies():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists() and f"!{name}" in ignored


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "jointembed.service"
    program = service()["ExecStart"].split()[0]
    unit.write_text((DEPLOY / unit.name).read_text().replace(program, "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0 and not [line for line in done.stderr.splitlines() if unit.name in line]


def engine():
    """The container engine that runs here, if there is one."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    pytest.skip("no container engine runs here")


@pytest.mark.slow
def test_the_image_serves_an_index(tmp_path):
    name = engine()
    subprocess.run([name, "build", "-f", str(DEPLOY / "Dockerfile"), "-t", "jointembed-test", str(ROOT)], check=True)
    vectors = np.eye(4, dtype=np.float32)
    with Index.create(tmp_path / "songs.index", 4, "cosine") as index:
        index.add([{"id": str(at)} for at in range(4)], vectors, "audio")
    tmp_path.chmod(0o777)
    (tmp_path / "songs.index").chmod(0o666)
    options = ["-d", "-p", "127.0.0.1:0:8765", "-v", f"{tmp_path}:/data", "-e", "JOINTEMBED_TOKEN=0123456789abcdef"]
    container = subprocess.check_output([name, "run", *options, "jointembed-test"], text=True).strip()
    try:
        port = subprocess.check_output([name, "port", container, "8765"], text=True).strip().rpartition(":")[2]

        def ask(path):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Authorization": "Bearer 0123456789abcdef"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)

        until(lambda: ask("/healthz"), 60)
        assert len(ask("/api/similar?id=0&k=3")["hits"]) == 3
        subprocess.run([name, "stop", container], check=True)
        state = [name, "inspect", "--format", "{{.State.ExitCode}}", container]
        assert subprocess.check_output(state, text=True).strip() == "143"
    finally:
        subprocess.run([name, "rm", "-f", container], check=True)
