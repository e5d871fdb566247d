import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from unhitch.engine.connector.options import options as connector_options
from unhitch_server.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
STATES = DEPLOY / "compose.states.yaml"
FILES = [DEPLOY / "compose.yaml", DEPLOY / "compose.lora.yaml", STATES]
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
PROXY_PORT = 8000


def services(path: Path = FILES[0]) -> dict[str, Any]:
    """Services with every variable at its default; those that must be set become `set`."""
    text = VARIABLE.sub(lambda match: match[3] if match[2] == "-" else "set", path.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)["services"]
    return loaded


def options_of_serve() -> set[str]:
    """Environment variables that `unhitch serve` reads."""
    group: Any = typer.main.get_command(app)
    return {str(option.envvar) for option in group.commands["serve"].params if option.envvar}


def test_only_the_proxy_is_published_and_on_the_loopback_address() -> None:
    published = {name: service.get("ports") for name, service in services().items()}
    assert published == {"unhitch": [f"127.0.0.1:{PROXY_PORT}:{PROXY_PORT}"], "vllm": None}


def test_vllm_is_only_in_a_network_without_a_way_out() -> None:
    networks = yaml.safe_load(FILES[0].read_text())["networks"]
    assert all(networks[name].get("internal") for name in services()["vllm"]["networks"])


def test_the_proxy_has_few_rights() -> None:
    proxy = services()["unhitch"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", proxy["user"])
    assert proxy["read_only"] is True
    assert proxy["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in proxy["security_opt"]


def test_the_user_of_the_proxy_is_that_of_the_image() -> None:
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    assert f"USER {services()['unhitch']['user']}\n" in dockerfile


@pytest.mark.parametrize("path", FILES)
def test_models_are_mounted_read_only(path: Path) -> None:
    mounts = [mount for service in services(path).values() for mount in service["volumes"]]
    binds = [mount for mount in mounts if mount["type"] == "bind" and mount["target"] != "/states"]
    assert binds
    assert all(mount["read_only"] for mount in binds)


def test_vllm_gets_the_options_of_the_connector_behind_its_own() -> None:
    program, flag, script, name = services(STATES)["vllm"]["entrypoint"]
    assert (program, flag, name) == ("/bin/sh", "-c", "vllm")
    shown = script.replace("$$", "$").replace("exec vllm serve", "printf '%s\\n'")
    printed = subprocess.run([program, flag, shown, name, "/models/base"], capture_output=True, text=True, check=True)
    model, *arguments = printed.stdout.splitlines()
    assert model == "/models/base"
    theirs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    expected = connector_options(Path("/states"))
    ours = dict(zip(expected[::2], expected[1::2], strict=True))
    assert json.loads(theirs.pop("--kv-transfer-config")) == json.loads(ours.pop("--kv-transfer-config"))
    assert theirs == ours


def test_the_library_alone_suffices_beside_vllm() -> None:
    mount = services(STATES)["vllm"]["volumes"][0]
    assert mount["target"] == services(STATES)["vllm"]["environment"]["PYTHONPATH"]
    library = (DEPLOY / mount["source"]).resolve()
    blocked = "http_sf", "unhitch_server", "unhitch_client"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import unhitch, unhitch.engine.connector.connector, unhitch.engine.connector.middleware as served\n"
        f"assert unhitch.__file__.startswith({str(library)!r}), unhitch.__file__\n"
        # What vLLM's image lacks besides: unhitch as an installed distribution.
        "import importlib.metadata as m\n"
        "def version(name): raise m.PackageNotFoundError(name)\n"
        "m.version = version\n"
        "print(unhitch.version())"
    )
    environment = os.environ | {"PYTHONPATH": str(library)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "unknown"


def test_the_model_lies_at_one_path_in_both_containers() -> None:
    targets = [{mount["target"] for mount in services()[name]["volumes"]} for name in ("vllm", "unhitch")]
    assert services()["vllm"]["command"][0] in targets[0] & targets[1]


def test_the_proxy_waits_until_vllm_is_healthy() -> None:
    assert services()["unhitch"]["depends_on"] == {"vllm": {"condition": "service_healthy"}}
    assert services()["vllm"]["healthcheck"]["test"][0] == "CMD"


def test_the_proxy_asks_the_service_of_vllm() -> None:
    assert services()["unhitch"]["environment"]["UNHITCH_UPSTREAM"] == "http://vllm:8000"


def test_images_are_pinned() -> None:
    for service in services().values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_the_image_of_the_proxy_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert services()["unhitch"]["image"] == f"unhitch:{project['version']}"


def test_the_build_finds_its_dockerfile() -> None:
    build = services()["unhitch"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("path", FILES)
def test_no_variable_holds_a_secret(path: Path) -> None:
    names = [name for service in services(path).values() for name in service.get("environment", {})]
    assert not [name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]


def test_every_variable_is_in_the_readme_with_its_default() -> None:
    readme = (DEPLOY / "README.md").read_text()
    for path in FILES:
        for name, kind, default in VARIABLE.findall(path.read_text()):
            shown = f"`{default}`" if kind == "-" else "none, must be set"
            assert re.search(rf"^\| `{name}` \| {re.escape(shown)}", readme, re.MULTILINE), name


@pytest.mark.parametrize("path", [*FILES, DEPLOY / "README.md", DEPLOY / "docker" / "Dockerfile"])
def test_every_setting_of_the_proxy_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"UNHITCH_[A-Z_]+", path.read_text()))
    assert named <= options_of_serve() | {"UNHITCH_CACHE"}


def has_docker_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode


@pytest.mark.skipif(not has_docker_compose(), reason="needs docker's compose plug-in")
def test_docker_compose_accepts_the_files() -> None:
    flags = [flag for path in FILES for flag in ("-f", str(path))]
    variables = {"MODEL_DIR": "/model", "ADAPTER_DIR": "/adapter", "STATES_DIR": "/states"}
    done = subprocess.run(
        ["docker", "compose", *flags, "config", "--quiet"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
