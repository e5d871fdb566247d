"""Models whose K/V cannot be patched: vLLM serves them, and does not start with the connector, which says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.states import shapes
from tests.e2e.states.engines import engine

pytestmark = pytest.mark.timeout(900)  # engines start slowly where other processes run too

_COMMON: dict[str, Any] = {
    "vocab_size": shapes.VOCABULARY,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def deepseek() -> Any:
    from transformers import DeepseekV2Config

    return DeepseekV2Config(
        **_COMMON,
        architectures=["DeepseekV2ForCausalLM"],
        intermediate_size=96,
        moe_intermediate_size=32,
        num_attention_heads=4,
        num_key_value_heads=4,
        q_lora_rank=None,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
        first_k_dense_replace=2,
        n_routed_experts=4,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        num_experts_per_tok=2,
    )


def mamba() -> Any:
    from transformers import MambaConfig

    return MambaConfig(**_COMMON, architectures=["MambaForCausalLM"], state_size=16)


@pytest.mark.parametrize(
    ("config", "reason"),
    [(deepseek, r"MLAAttentionSpec \(MLA: "), (mamba, r"MambaSpec \(state space or linear attention: ")],
)
def test_a_model_that_cannot_be_patched_does_not_start_with_the_connector(
    config: Any, reason: str, tmp_path: Path
) -> None:
    config().save_pretrained(tmp_path)
    dummy: dict[str, Any] = {"load_format": "dummy"}
    with engine(tmp_path, tmp_path, **dummy, kv_transfer_config=None) as without:
        assert without.metric("vllm:num_requests_running") == 0  # the CPU engine starts, and lacks Mamba's kernels
    refused = f"^EngineStartError: unhitch's connector cannot serve this model: it has layers of the kind {reason}"
    with pytest.raises(RuntimeError, match=refused), engine(tmp_path, tmp_path, **dummy):
        pass
