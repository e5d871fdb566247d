"""Headers of states, vLLM's own configuration of a tiny model, and requests as vLLM makes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from unhitch.engine.connector.options import options
from unhitch.states.file import Layer, Rope, StateHeader

HeaderOf = Callable[..., StateHeader]
RequestOf = Callable[..., Any]

LAYERS, KV_HEADS, HEAD_SIZE, THETA = 3, 2, 32, 10000.0
ROPE = Rope(inverse_frequencies=tuple(THETA ** (-2 * pair / HEAD_SIZE) for pair in range(HEAD_SIZE // 2)))
DIGEST = "d" * 64


@pytest.fixture
def header_of() -> HeaderOf:
    """Makes the header of a state of the tiny model; `changes` are of its fields."""

    def header(tokens: Sequence[int], **changes: Any) -> StateHeader:
        layer = Layer(kv_heads=KV_HEADS, head_size=HEAD_SIZE, rope=0)
        fields: dict[str, Any] = {
            "span": "prefix",
            "tokens": tuple(tokens),
            "start": 0,
            "base": DIGEST,
            "tokenizer": DIGEST,
            "template": DIGEST,
            "layers": (layer,) * LAYERS,
            "rope": (ROPE,),
            "dtype": "float32",
        }
        return StateHeader(**(fields | changes))

    return header


@pytest.fixture
def request_of() -> RequestOf:
    """Makes a request of vLLM's with our member of `kv_transfer_params`; `changes` are of its arguments."""

    def request(
        prompt: list[int] | None, member: object, *, sampling: dict[str, Any] | None = None, **changes: Any
    ) -> Any:
        from vllm import SamplingParams
        from vllm.v1.request import Request

        extra = {"kv_transfer_params": {"unhitch": member}}
        parameters = SamplingParams(**({"max_tokens": 1, "extra_args": extra} | (sampling or {})))
        arguments: dict[str, Any] = {
            "request_id": "one",
            "prompt_token_ids": prompt,
            "sampling_params": parameters,
            "pooling_params": None,
        }
        return Request(**(arguments | changes))

    return request


@pytest.fixture(scope="session")
def vllm_config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """vLLM's configuration for the tiny model and the connector; nothing of it may be changed for good."""
    from transformers import Qwen2Config
    from vllm.config import KVTransferConfig
    from vllm.engine.arg_utils import EngineArgs

    folder = tmp_path_factory.mktemp("tiny")
    Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        vocab_size=100,
        hidden_size=128,
        intermediate_size=32,
        num_attention_heads=4,
        num_key_value_heads=KV_HEADS,
        num_hidden_layers=LAYERS,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
    ).save_pretrained(folder)
    connector = KVTransferConfig(**json.loads(options(folder)[1]))
    arguments = EngineArgs(str(folder), dtype="float32", skip_tokenizer_init=True, kv_transfer_config=connector)
    return arguments.create_engine_config()


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """An empty folder for states."""
    folder = tmp_path / "states"
    folder.mkdir()
    return folder
