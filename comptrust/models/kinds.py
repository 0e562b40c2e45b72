"""What part of a model a weight belongs to, from its name in the files or in the modules."""

import re

LINEAR = ("attention", "experts", "mlp", "state space", "other")
"""Kinds whose linear layers are compressed."""
NOT_LANGUAGE = "vision and audio"
VECTORS = "norms and biases"
KINDS = (*LINEAR, "state parameters", "router", "embeddings", "head", VECTORS, NOT_LANGUAGE)
"""All kinds, in the order in which they are shown."""
_PATTERNS = {
    # Towers have attention and embeddings of their own, so they come first.
    NOT_LANGUAGE: r"vision|visual|audio|image|multi_?modal|mm_|speech|connector|aligner",
    # mamba computes with the weight of dt_proj, not with the layer
    "state parameters": r"(^|\.)(dt_proj|A_log|conv\.conv|rg_lru)(\.|$)|conv_?1d",
    "router": r"(^|\.)(gate|router|shared_expert_gate|altup)(\.|$)",
    "head": r"lm_head|embed_out|output_(layer|projection)|(^|\.)head(\.|$)",
    "embeddings": r"embed|(^|\.)(wte|wpe|wlte)(\.|$)",
    "experts": r"(?<!shared_)experts(\.|$)|block_sparse_moe\.(in|out)put_linear|\.moe\.",
    "attention": r"attn|attention|\.(q|k|v|o|qkv|query_key_value|query|key|value)(_proj)?(\.|$)",
    "state space": r"mamba|mixer|ssm|recurrent|temporal|short_?conv|conv",
    "mlp": r"mlp|ffn|feed_forward|fc\d|dense|shared_expert|channel_mix|(^|\.)w\d|proj",
}


def kind(name: str) -> str:
    """Return one of KINDS for a layer or tensor; vectors are VECTORS whatever their name."""
    for found, pattern in _PATTERNS.items():
        if re.search(pattern, name):
            return found
    return "other"
