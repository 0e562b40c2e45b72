"""Mixed recipes: every layer gets its own bits, and the files show that it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open

from comptrust.compression import checkpoint, fitting, oneshot
from comptrust.compression.recipe import build
from comptrust.errors import ServiceError, UserError
from comptrust.models import measure
from comptrust.models.loading import load
from comptrust.records import Recipe

RULES = [
    {"layers": ["*.layers.0.mlp.down_proj"], "bits": "dense"},
    {"layers": ["*.layers.0.*"], "bits": 8},
    {"layers": ["*.layers.1.mlp.gate_proj", "*.layers.1.mlp.up_proj"], "bits": 3},
]
MLP, ATTENTION = 64 * 128, 2 * 64 * 64 + 2 * 64 * 32


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
def test_each_layer_has_the_bits_of_the_first_rule_that_fits(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    from transformers import AutoModelForCausalLM

    few: dict[str, Any] = {} if method == "rtn" else {"calibration_samples": 4}
    options = {"grid": 3} if method == "awq" else {}
    recipe = build(
        model=str(tiny_model), method=method, bits=4, layer_bits=RULES, options=options, **few
    )
    record = oneshot.compress(recipe, out=tmp_path / "out")
    assert record.weights_at == {
        3: 2 * MLP, 4: MLP + ATTENTION, 8: 2 * MLP + ATTENTION, 16: MLP
    }  # fmt: skip
    assert record.code_bits == (3, 6)
    assert record.share_at_most(3) == pytest.approx(2 * MLP / (6 * MLP + 2 * ATTENTION))
    assert 5 < record.effective_bits < 9
    assert checkpoint.load(tmp_path / "out") == record
    measure.check(record, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    dense, _ = load(tiny_model)
    name = "model.layers.0.mlp.down_proj.weight"
    kept, before = model.state_dict()[name].float(), dense.state_dict()[name].float()
    assert (kept == before).all() or method == "awq", "dense layers stay; AWQ scales them"
    assert "mixed-" in record.recipe.slug


def test_layers_left_dense_are_saved_in_the_dtype_of_the_others(
    tiny_model: Path, tmp_path: Path
) -> None:
    recipe = build(
        model=str(tiny_model), method="rtn", bits=4, layer_bits=RULES, save_dtype="bfloat16"
    )
    oneshot.compress(recipe, out=tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        for name in ("model.layers.0.mlp.down_proj.weight", "model.norm.weight"):
            assert file.get_slice(name).get_dtype() == "BF16", name


def test_a_record_that_names_other_bits_than_the_files_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    recipe = build(model=str(tiny_model), method="rtn", bits=4, layer_bits=RULES)
    record = oneshot.compress(recipe, out=tmp_path / "out")
    other = [*RULES[:2], {"layers": ["*.layers.1.mlp.*"], "bits": 8}]
    stated = build(model=str(tiny_model), method="rtn", bits=4, layer_bits=other)
    lies: list[dict[str, object]] = [
        {"recipe": stated.model_copy(update={"group_size": 64})},
        {"weights_at": {8: sum(record.weights_at.values())}},
        {"weights_at": {}},
    ]
    for lie in lies:
        with pytest.raises(UserError, match=r"bits of layer|weights_at"):
            measure.check(record.model_copy(update=lie), tmp_path / "out")
    config = tmp_path / "out" / "config.json"
    settings = json.loads(config.read_text())
    for group in settings["quantization_config"]["config_groups"].values():
        if group["weights"]["num_bits"] == 3:
            group["weights"]["num_bits"] = 8
    config.write_text(json.dumps(settings))
    with pytest.raises(UserError):
        measure.check(record, tmp_path / "out")


def test_a_layer_that_the_library_overlooks_stops_the_checkpoint(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptrust.compression.methods.rtn import Rtn

    whole = Rtn.weights

    def without_three_bits(self: Rtn, model: Any, *, symmetric: bool) -> dict[str, Any]:
        found = whole(self, model, symmetric=symmetric)
        groups = found["config_groups"]
        return found | {
            "config_groups": {
                name: group for name, group in groups.items() if group["weights"]["num_bits"] != 3
            }
        }

    monkeypatch.setattr(Rtn, "weights", without_three_bits)
    recipe = build(model=str(tiny_model), method="rtn", bits=4, layer_bits=RULES)
    with pytest.raises(ServiceError, match="layers.1.mlp.(gate|up)_proj"):
        oneshot.compress(recipe, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


REFUSED = [
    ({"method": "wanda"}, RULES, "layer_bits cannot be used with method wanda"),
    ({"method": "autoround", "bits": 4}, RULES, "cannot be used with method autoround"),
    ({"method": "fp8"}, RULES, "layer_bits cannot be used with method fp8"),
    ({"bits": 4, "format": "gptq"}, RULES, "same bits in all layers"),
    ({"bits": 4}, [{"layers": ["*"], "bits": 7}], "does not support bits 7"),
    ({"bits": 4}, [{"layers": [], "bits": 8}], "at least 1 item"),
    ({"bits": 4}, [{"bits": 8}], "Field required"),
    ({"bits": 4}, "all", "Write rules such as"),
    ({"bits": 4, "server": "vllm-cpu"}, RULES, "4 bits only"),
]


@pytest.mark.parametrize(("fields", "rules", "message"), REFUSED)
def test_rules_that_do_not_fit_are_refused(
    fields: dict[str, Any], rules: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(**{"model": "m", "method": "gptq", **fields}, layer_bits=rules)


def test_patterns_must_fit_and_leave_something(tiny_model: Path) -> None:
    for rules, message in (
        ([{"layers": ["*.layers.9.*"], "bits": 8}], "fits no layer"),
        ([{"layers": ["*"], "bits": "dense"}], "every layer dense"),
    ):
        recipe = build(model=str(tiny_model), method="rtn", bits=4, layer_bits=rules)
        with pytest.raises(UserError, match=message):
            fitting.check(recipe, tiny_model)


def test_recipes_without_rules_keep_their_digest_and_the_order_of_rules_counts() -> None:
    plain = build(model="m", method="rtn", bits=4)
    assert "layer_bits" not in json.loads(plain.model_dump_json())
    one, other = (
        build(model="m", method="rtn", bits=4, layer_bits=rules) for rules in (RULES, RULES[::-1])
    )
    assert one.bits_of("model.layers.0.mlp.down_proj") is None
    assert other.bits_of("model.layers.0.mlp.down_proj") == 8
    assert one.slug != other.slug and one.digest_of_fields() != other.digest_of_fields()
    assert Recipe.model_validate_json(one.model_dump_json()) == one


def test_a_recipe_file_and_the_option_say_the_same(tiny_model: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from comptrust.cli.app import comptrust as cli

    path = tmp_path / "mixed.yaml"
    fields = {"model": str(tiny_model), "method": "rtn", "bits": 4}
    path.write_text(yaml.safe_dump({**fields, "layer_bits": RULES}))
    words = ["--model", str(tiny_model), "--method", "rtn", "--bits", "4"]
    shown = [
        CliRunner().invoke(cli, ["compress", *more, "--out", str(tmp_path / name), "--json"])
        for name, more in (
            ("file", ["--recipe", str(path)]),
            ("option", [*words, "--layer-bits", json.dumps(RULES)]),
        )
    ]
    assert [one.exit_code for one in shown] == [0, 0], [one.output for one in shown]
    records = [json.loads(one.stdout) for one in shown]
    assert records[0]["digest"] == records[1]["digest"]
    assert len(records[0]["recipe"]["layer_bits"]) == 3
