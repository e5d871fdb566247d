import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile in order, comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def final_stage() -> dict[str, str]:
    """The last value of each instruction of the stage that is shipped."""
    stages = [index for index, (name, _) in enumerate(instructions()) if name == "FROM"]
    return dict(instructions()[stages[-1] :])


def pins() -> dict[str, Version]:
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_normal(name): Version(version) for name, version in pairs}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_a_user_by_number_who_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final_stage()["USER"])


def test_the_command_line_is_the_entry_point_and_serves_by_default() -> None:
    (entry,) = json.loads(final_stage()["ENTRYPOINT"])
    assert entry in PROJECT["scripts"]
    assert json.loads(final_stage()["CMD"]) == ["serve"]


def test_the_health_check_is_the_script_that_is_copied() -> None:
    command = json.loads(final_stage()["HEALTHCHECK"].split("CMD", 1)[1])
    assert command == ["python3", "/opt/unhitch/healthcheck.py"]
    assert ("COPY", "deploy/docker/healthcheck.py /opt/unhitch/healthcheck.py") in instructions()


def test_nothing_is_run_in_the_stage_that_is_shipped() -> None:
    stages = [index for index, (name, _) in enumerate(instructions()) if name == "FROM"]
    assert "RUN" not in {name for name, _ in instructions()[stages[-1] :]}


def test_the_version_label_is_that_of_the_project() -> None:
    assert ("ARG", f"VERSION={PROJECT['version']}") in instructions()


def test_the_default_base_is_pinned_to_a_python_that_the_project_supports() -> None:
    (base,) = [
        value.split("=", 1)[1] for name, value in instructions() if name == "ARG" and value.startswith("BASE_IMAGE=")
    ]
    match = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", base)
    assert match
    assert Version(match[1]) in Requirement(f"python{PROJECT['requires-python']}").specifier


@pytest.mark.parametrize(
    "source",
    [
        source
        for name, value in instructions()
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    ],
)
def test_what_is_copied_exists_and_reaches_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert any(Path(source).is_relative_to(path) for path in kept)


def test_the_builder_sees_every_package_of_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = [value.split()[0] for name, value in instructions() if name == "COPY" and not value.startswith("--from")]
    assert all(any(Path(package).is_relative_to(path) for path in copied) for package in wheel["packages"])


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_every_dependency_is_pinned_to_a_version_that_the_project_allows(dependency: str) -> None:
    requirement = Requirement(dependency)
    assert pins()[_normal(requirement.name)] in requirement.specifier


def test_the_image_holds_no_torch_and_no_vllm() -> None:
    assert not {name for name in pins() if name.startswith(("torch", "vllm", "nvidia", "triton"))}


def test_the_script_for_buildah_has_no_syntax_errors() -> None:
    assert subprocess.run(["sh", "-n", DOCKER / "build-with-buildah.sh"], check=False).returncode == 0
