"""The variants of a distillation: what each part of the recipe is worth.

Source: Sanh et al. 2019, table 4, and a student that learns from the text alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from tf_distilbert.config import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.model_folder import load_tokenizer
from tf_distilbert.run_data import load_data
from tf_distilbert.run_directory import RunDirectory
from tf_distilbert.train import distill

WHOLE, ALONE = "triple loss", "masked LM alone"

# Nothing of the teacher's logits.
_UNTAUGHT = {"distillation_weight": 0.0, "mse_weight": 0.0}

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        WHOLE: {},
        "without distillation": {"loss": _UNTAUGHT},
        "without cosine": {"loss": {"cosine_weight": 0.0}},
        "without masked LM": {"loss": {"mlm_weight": 0.0}},
        ALONE: {"loss": {**_UNTAUGHT, "cosine_weight": 0.0}},
        "random initialisation": {"student": {"initialize_from": "random"}},
    }
)
"""Name to what differs from the configuration, section by section."""


def distil_variants(config: DistillConfig, output: Path, console: Console) -> dict[str, Path]:
    """Distil every variant from the same start with the same budget.

    What is there already is kept, and what was stopped goes on.

    Args:
        config: of the whole recipe; its own output is not used.
        output: the folder of the runs, one a variant, and of the text that all learn from.
        console: where progress is shown.

    Returns:
        Name to the folder of the model.

    Raises:
        UserError: as `distill`; a variant has nothing to learn from, or is there with other
            settings.
        Interrupted: as `distill`.
    """
    config = replace(config, train=replace(config.train, resume="auto"))
    config = _with_records(config, output / "data")
    # What is wrong with the last one is to be said before the first one takes hours.
    variants = {name: _variant(config, name, output) for name in VARIANTS}
    for variant in variants.values():
        RunDirectory(variant.output).check(variant)
    missing = {
        name: variant
        for name, variant in variants.items()
        if not RunDirectory(variant.output).model.exists()
    }
    for name, variant in missing.items():
        console.print(f"[bold]{name}[/bold]")
        distill(variant, console)
    return {name: Path(variant.output) / "model" for name, variant in variants.items()}


def _with_records(config: DistillConfig, folder: Path) -> DistillConfig:
    """Prepare the text once for all variants."""
    if config.data.records:
        return config
    whole = replace(config.data, validation_share=0.0)
    records, held_out = load_data(whole, load_tokenizer(config.teacher), folder)
    data = replace(config.data, text=[], records=str(records.path))
    if held_out:
        data = replace(data, validation=[], validation_records=str(held_out.path))
    return replace(config, data=data)


def _variant(config: DistillConfig, name: str, output: Path) -> DistillConfig:
    sections = {key: dict(new) for key, new in VARIANTS[name].items()}
    if name == ALONE and not config.loss.mlm_weight:
        sections["loss"]["mlm_weight"] = 1.0  # alone, its weight decides nothing
    try:
        changed = {key: replace(getattr(config, key), **new) for key, new in sections.items()}
    except UserError as error:
        raise UserError(f"the variant {name}: {error}") from None
    return replace(config, output=str(output / name.replace(" ", "-")), **changed)
