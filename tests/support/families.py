"""A tiny random model of each family: `FAMILIES` lists them, and `build` saves one in a folder.

The weights are scaled so that every block changes the answers and logits have a standard deviation
of about 3: a fault in any part of the computation shows in the text.

Left out, since their configs need more than a few lines or this transformers cannot build them:
DeepSeek V3.2, Kimi Linear, Zamba 2, T5 and other models with an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Settings = Mapping[str, Any]

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content']"
    " }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 320
"""More rows than the tokenizer has tokens, as usual; images use the last ones."""
HIDDEN, LAYERS = 128, 2
LOGIT_STD = 3.0

SIZES: Settings = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 256,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
ALL_HEADS: Settings = {"num_key_value_heads": 4}
OLD: Settings = {
    "vocab_size": VOCABULARY,
    "n_positions": 1024,
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": 4,
    "tie_word_embeddings": False,
}
MOE: Settings = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
LATENT: Settings = {
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
    "num_key_value_heads": 4,
}
MAMBA: Settings = {
    "mamba_n_heads": 8,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_expand": 2,
}
DELTA: Settings = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "layer_types": ["linear_attention", "full_attention"],
    "head_dim": 32,
}
GEMMA4: Settings = {
    "head_dim": 32,
    "global_head_dim": 32,
    "sliding_window": 32,
    "layer_types": ["sliding_attention", "full_attention"],
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 0,
}
ROPE: Settings = {"rope_theta": 10000.0}
VISION: Settings = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION: Settings = {
    "depth": 1,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 2,
    "patch_size": 14,
    "out_hidden_size": HIDDEN,
}


def _plain(kind: str, *more: Settings, **extra: Any) -> tuple[str, dict[str, Any]]:
    """Return a family whose config has the usual names."""
    settings: dict[str, Any] = dict(SIZES)
    for part in more:
        settings |= part
    return kind, settings | extra


def _image(kind: str, text: Settings, vision: Settings = VISION, **extra: Any) -> tuple[str, Any]:
    """Return a family that reads images too."""
    return kind, {
        "text_config": {**SIZES, **text},
        "vision_config": dict(vision),
        "image_token_id": 310,
        "image_token_index": 310,
        "tie_word_embeddings": False,
        **extra,
    }


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    # attention alone, rotary positions
    "llama": _plain("llama"),
    "llama_tied": _plain("llama", tie_word_embeddings=True),
    "llama_bias": _plain("llama", attention_bias=True, mlp_bias=True),
    "llama_dynamic": _plain(
        "llama",
        max_position_embeddings=64,
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, **ROPE},
    ),
    "llama_yarn": _plain(
        "llama",
        rope_parameters={
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            **ROPE,
        },
    ),
    "llama3": _plain(
        "llama",
        rope_parameters={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
            **ROPE,
        },
    ),
    "mistral": _plain("mistral", sliding_window=None),
    "mistral_window": _plain("mistral", sliding_window=32),
    "ministral3": _plain("ministral3", head_dim=32),
    "qwen2": _plain("qwen2"),
    "qwen2_window": _plain(
        "qwen2", use_sliding_window=True, sliding_window=32, max_window_layers=1
    ),
    "qwen3": _plain("qwen3", head_dim=32),
    "gemma": _plain("gemma", head_dim=32),
    "gemma2": _plain("gemma2", head_dim=32, sliding_window=32),
    "gemma3_text": _plain("gemma3_text", head_dim=32, sliding_window=32),
    "gemma3n_text": _plain(
        "gemma3n_text",
        head_dim=32,
        sliding_window=32,
        intermediate_size=[256, 256],
        layer_types=["sliding_attention", "full_attention"],
        num_kv_shared_layers=0,
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=16,
        laurel_rank=8,
        activation_sparsity_pattern=[0.0, 0.0],
    ),
    "gemma4_text": _plain("gemma4_text", GEMMA4),
    "vaultgemma": _plain("vaultgemma", ALL_HEADS, head_dim=32, sliding_window=32),
    "phi": _plain("phi", ALL_HEADS),
    "phi3": _plain("phi3"),
    "phi3_longrope": _plain(
        "phi3",
        original_max_position_embeddings=64,
        rope_parameters={
            "rope_type": "longrope",
            "short_factor": [1.0] * 16,
            "long_factor": [4.0] * 16,
            "original_max_position_embeddings": 64,
            **ROPE,
        },
    ),
    "stablelm": _plain("stablelm"),
    "stablelm_parallel": _plain("stablelm", use_parallel_residual=True, qk_layernorm=True),
    "olmo": _plain("olmo"),
    "olmo2": _plain("olmo2"),
    "olmo3": _plain(
        "olmo3", sliding_window=32, layer_types=["sliding_attention", "full_attention"]
    ),
    "granite": _plain("granite"),
    "cohere": _plain("cohere"),
    "cohere2": _plain("cohere2", sliding_window=32),
    "glm": _plain("glm", head_dim=32),
    "glm4": _plain("glm4", head_dim=32),
    "starcoder2": _plain("starcoder2"),
    "smollm3": _plain("smollm3", no_rope_layers=[1, 0]),
    "exaone4": _plain("exaone4", sliding_window=32, sliding_window_pattern=2),
    "nemotron": _plain("nemotron", head_dim=32),
    "persimmon": _plain("persimmon"),
    "apertus": _plain("apertus"),
    "seed_oss": _plain("seed_oss", head_dim=32),
    "hunyuan_v1_dense": _plain("hunyuan_v1_dense", head_dim=32),
    "helium": _plain("helium", head_dim=32),
    "arcee": _plain("arcee"),
    "gpt_neox": _plain("gpt_neox"),
    "gptj": ("gptj", {**OLD, "rotary_dim": 16}),
    "codegen": ("codegen", {**OLD, "rotary_dim": 16}),
    "falcon": (
        "falcon",
        {**SIZES, "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False},
    ),
    "falcon40b": (
        "falcon",
        {**SIZES, "new_decoder_architecture": True, "num_kv_heads": 2, "parallel_attn": True},
    ),
    # learned positions; gpt2 has Conv1D in place of linear layers
    "gpt2": ("gpt2", dict(OLD)),
    "gpt_bigcode": ("gpt_bigcode", dict(OLD)),
    "gpt_neo": (
        "gpt_neo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "num_layers": LAYERS,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 32,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": False,
        },
    ),
    "opt": ("opt", {**SIZES, "ffn_dim": 256, "word_embed_proj_dim": HIDDEN}),
    "opt_350m": (
        "opt",
        {**SIZES, "ffn_dim": 256, "word_embed_proj_dim": 64, "do_layer_norm_before": False},
    ),
    "biogpt": _plain("biogpt", ALL_HEADS),
    "xglm": (
        "xglm",
        {
            "vocab_size": VOCABULARY,
            "d_model": HIDDEN,
            "ffn_dim": 256,
            "num_layers": LAYERS,
            "attention_heads": 4,
            "tie_word_embeddings": False,
        },
    ),
    # ALiBi
    "bloom": ("bloom", {**OLD, "hidden_size": HIDDEN}),
    "mpt": (
        "mpt",
        {
            "vocab_size": VOCABULARY,
            "d_model": HIDDEN,
            "n_heads": 4,
            "n_layers": LAYERS,
            "expansion_ratio": 2,
            "max_seq_len": 1024,
            "tie_word_embeddings": False,
        },
    ),
    "falcon_rw": (
        "falcon",
        {
            **SIZES,
            "alibi": True,
            "multi_query": False,
            "new_decoder_architecture": False,
            "parallel_attn": False,
            "bias": True,
        },
    ),
    # mixture of experts
    "mixtral": _plain("mixtral", MOE),
    "qwen2_moe": _plain("qwen2_moe", MOE),
    "qwen3_moe": _plain("qwen3_moe", MOE, head_dim=32),
    "olmoe": _plain("olmoe", MOE),
    "gpt_oss": _plain("gpt_oss", MOE, head_dim=32, sliding_window=32),
    "phimoe": _plain("phimoe", MOE),
    "dbrx": (
        "dbrx",
        {
            "vocab_size": VOCABULARY,
            "d_model": HIDDEN,
            "n_heads": 4,
            "n_layers": LAYERS,
            "max_seq_len": 2048,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
            "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2},
            "tie_word_embeddings": False,
        },
    ),
    "jetmoe": _plain("jetmoe", MOE, kv_channels=32),
    "granitemoe": _plain("granitemoe", MOE),
    "ernie4_5_moe": _plain(
        "ernie4_5_moe", MOE, moe_num_experts=4, moe_k=2, moe_layer_start_index=1
    ),
    "hunyuan_v1_moe": _plain("hunyuan_v1_moe", MOE, head_dim=32, moe_topk=2),
    "dots1": _plain("dots1", MOE, ALL_HEADS, head_dim=32),
    "flex_olmo": _plain("flex_olmo", MOE),
    "minimax_m2": _plain("minimax_m2", MOE, head_dim=32),
    "glm4_moe": _plain("glm4_moe", MOE, head_dim=32),
    "llama4_text": _plain(
        "llama4_text",
        MOE,
        head_dim=32,
        attention_chunk_size=64,
        interleave_moe_layer_step=2,
        intermediate_size_mlp=256,
        num_experts_per_tok=1,
        no_rope_layers=[1, 0],
    ),
    # latent attention: keys, values and queries differ in size
    "deepseek_v2": _plain("deepseek_v2", MOE, LATENT),
    "deepseek_v3": _plain("deepseek_v3", MOE, LATENT),
    "glm4_moe_lite": _plain("glm4_moe_lite", MOE, LATENT),
    "minicpm3": _plain("minicpm3", LATENT),
    "youtu": _plain("youtu", LATENT),
    # layers called more than once in a pass
    "diffllama": _plain("diffllama", ALL_HEADS),
    "hrm_text": _plain("hrm_text", ALL_HEADS),
    # states in place of keys and values, in some layers or all
    "qwen3_next": _plain("qwen3_next", MOE, DELTA),
    "qwen3_5_text": _plain("qwen3_5_text", DELTA),
    "olmo_hybrid": _plain("olmo_hybrid", DELTA),
    "nemotron_h": _plain(
        "nemotron_h",
        MOE,
        head_dim=32,
        num_hidden_layers=4,
        layers_block_type=["mamba", "attention", "moe", "mamba"],
        mamba_num_heads=8,
        mamba_head_dim=32,
        ssm_state_size=16,
        n_groups=1,
        chunk_size=16,
        moe_shared_expert_intermediate_size=128,
    ),
    "lfm2": _plain("lfm2", layer_types=["conv", "full_attention"]),
    "lfm2_moe": _plain("lfm2_moe", MOE, layer_types=["conv", "full_attention"], num_dense_layers=1),
    "falcon_h1": _plain("falcon_h1", MAMBA, head_dim=32, mamba_d_ssm=256),
    "jamba": _plain(
        "jamba",
        MOE,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        mamba_d_state=16,
        mamba_dt_rank=8,
        use_mamba_kernels=False,
    ),
    "bamba": _plain("bamba", MAMBA, attn_layer_indices=[1]),
    "granitemoehybrid": _plain(
        "granitemoehybrid",
        MOE,
        MAMBA,
        layer_types=["mamba", "attention"],
        shared_intermediate_size=128,
    ),
    "mamba": _plain("mamba", state_size=16),
    "mamba2": _plain("mamba2", state_size=16, num_heads=8, head_dim=32, n_groups=1, chunk_size=16),
    "falcon_mamba": _plain("falcon_mamba", state_size=16),
    "recurrent_gemma": _plain(
        "recurrent_gemma",
        head_dim=32,
        lru_width=HIDDEN,
        attention_window_size=64,
        block_types=["recurrent", "attention"],
    ),
    "rwkv": _plain("rwkv", attention_hidden_size=HIDDEN, context_length=1024),
    "minimax": _plain("minimax", MOE, layer_types=["linear_attention", "full_attention"]),
    # a language model inside a model that reads images
    "gemma3": _image("gemma3", {"head_dim": 32, "sliding_window": 32}, mm_tokens_per_image=4),
    "gemma4": _image(
        "gemma4",
        GEMMA4,
        {**VISION, "head_dim": 32, "num_key_value_heads": 2},
    ),
    "qwen2_5_vl": _image(
        "qwen2_5_vl",
        {"rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], **ROPE}},
        QWEN_VISION,
        vision_start_token_id=312,
        video_token_id=311,
    ),
    "qwen3_vl": _image(
        "qwen3_vl",
        {
            "head_dim": 32,
            "rope_parameters": {"rope_type": "default", "mrope_section": [6, 5, 5], **ROPE},
        },
        {**QWEN_VISION, "deepstack_visual_indexes": [0]},
        vision_start_token_id=312,
        video_token_id=311,
    ),
    "qwen3_5": _image(
        "qwen3_5",
        DELTA,
        QWEN_VISION,
        vision_start_token_id=312,
        video_token_id=311,
    ),
    "llava": _image(
        "llava", {"model_type": "llama"}, {**VISION, "model_type": "clip_vision_model"}
    ),
    "mistral3": _image(
        "mistral3",
        {"model_type": "mistral", "sliding_window": None, "head_dim": 32},
        {**VISION, "model_type": "pixtral", "head_dim": 32},
    ),
    "mllama": _image(
        "mllama",
        {
            "cross_attention_layers": [1],
            "num_hidden_layers": 3,
            "rope_parameters": {"rope_type": "default", **ROPE},
        },
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 1,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "vision_output_dim": 128,
            "intermediate_layers_indices": [0],
        },
    ),
    "llama4": _image(
        "llama4",
        {
            **MOE,
            "head_dim": 32,
            "attention_chunk_size": 64,
            "interleave_moe_layer_step": 2,
            "intermediate_size_mlp": 256,
            "num_experts_per_tok": 1,
            "no_rope_layers": [1, 0],
        },
        {**VISION, "vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64},
    ),
}
"""Name -> the kind of model, as config.json names it, and the settings of its config."""


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of 259 tokens: every byte and three special ones."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL]
    core = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    end = SPECIAL[2]
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=SPECIAL[1], eos_token=end, pad_token=end
    )
    whole.chat_template = TEMPLATE
    return whole


def config(name: str) -> transformers.PreTrainedConfig:
    """Return the config of a family, with the tokenizer's special tokens."""
    kind, settings = FAMILIES[name]
    words = tokenizer()
    special = {
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    if "text_config" in settings:
        settings = {**settings, "text_config": {**settings["text_config"], **special}}
    return transformers.AutoConfig.for_model(kind, **{**settings, **special})


def build(name: str, folder: Path) -> Path:
    """Save a random model of a family with its tokenizer, in bfloat16."""
    torch.manual_seed(0)
    settings = config(name)
    text, images = transformers.AutoModelForCausalLM, transformers.AutoModelForImageTextToText
    kind: Any = images if "text_config" in FAMILIES[name][1] else text
    model = kind.from_config(settings).eval()
    _scale(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def _scale(model: transformers.PreTrainedModel) -> None:
    """Let every block change the answer, and logits differ by about `LOGIT_STD`."""
    ids = torch.arange(40)[None] * 7 % 250
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim in (2, 3) and min(weight.shape) >= 8 and "embed" not in name:
                if "conv" not in name and "A_log" not in name:
                    weight.normal_(std=HIDDEN**-0.5)
            elif name.endswith("bias") and weight.ndim == 1 and "dt" not in name:
                weight.normal_(std=0.1)
        head: Any = model.get_output_embeddings()
        for _ in range(3):
            head.weight *= LOGIT_STD / model(ids, use_cache=False).logits.float().std()
