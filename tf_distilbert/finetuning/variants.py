"""The variants of a recipe, one part left out or put in, and the students that they make."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.config.models import TERM_SETTINGS, LossConfig
from tf_distilbert.console.lines import say
from tf_distilbert.finetuning.students import folder_name
from tf_distilbert.model_files.folder import load_tokenizer
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.records import load_records
from tf_distilbert.runs.train import distill

_TRIPLE_LOSS, _WHOLE_RECIPE = "triple loss", "whole recipe"
_TERMS_OF_THE_PAPER = {"distillation_weight", "mlm_weight", "cosine_weight"}
_RELATION_WEIGHT = 3.0  # as in the recipes that have them
# Of the teacher's logits; of anything.
_NO_LOGITS = {"distillation_weight": 0.0, "mse_weight": 0.0}
_NOTHING = {
    **_NO_LOGITS,
    **{"mlm_weight": 0.0, "cosine_weight": 0.0, "relation_weight": 0.0, "hidden_weight": 0.0},
}


def whole_variant(names: Iterable[str]) -> str | None:
    """Find the variant that nothing is left out of, to which the others are compared.

    Args:
        names: of `variants_of`, among others.

    Returns:
        Its name: ``triple loss`` if the recipe has the paper's three terms and no other, else
        ``whole recipe``. None if there is none.
    """
    return next((name for name in names if name in (_TRIPLE_LOSS, _WHOLE_RECIPE)), None)


def variants_of(config: DistillConfig) -> dict[str, DistillConfig]:
    """Give the variants that tell what each part of a recipe is worth.

    Those of the paper's table 4 come first: without distillation, cosine, masked LM, and from a
    random start; masked LM alone is one more. Relations and hidden states, where the recipe has
    them, are left out; where it has not, they are put in. Relations stand in the place of the
    cosine, too, alone, and as in ``configs/relations-and-words.yaml``.

    Args:
        config: of the whole recipe.

    Returns:
        Name to configuration, the whole recipe first, see `whole_variant`; all with the recipe's
        own output and data. Left out is what would have nothing to learn from, and what is the
        same as another.

    Source: Sanh et al. 2019, table 4.
    """
    losses = _losses(config.loss)
    whole = _TRIPLE_LOSS if _weighted(config.loss) == _TERMS_OF_THE_PAPER else _WHOLE_RECIPE
    changes: dict[str, Mapping[str, Mapping[str, Any]]] = {whole: {}}
    changes |= {name: {"loss": loss} for name, loss in losses.items()}
    start: dict[str, Any] = {"initialize_from": "random"}
    if config.student.layer_map == "auto":  # a search of layers to start from
        start["layer_map"] = None
    changes["random initialisation"] = {"student": start}
    found: dict[str, DistillConfig] = {}
    for name, sections in changes.items():
        variant = _changed(config, sections)
        if variant is not None and variant not in found.values():
            found[name] = variant
    return found


def _weighted(loss: LossConfig) -> set[str]:
    """Name the weights that are not 0."""
    return {name for name, value in asdict(loss).items() if name.endswith("_weight") and value}


def _losses(loss: LossConfig) -> dict[str, dict[str, Any]]:
    """Give what differs from the whole loss."""
    # Alone, a weight decides nothing; of a recipe without the term it must be some.
    mlm_alone = {**_NOTHING, "mlm_weight": loss.mlm_weight or 1.0}
    relations_alone = {**_NOTHING, "relation_weight": loss.relation_weight or _RELATION_WEIGHT}
    found: dict[str, dict[str, Any]] = {
        "without distillation": _NO_LOGITS,
        "without cosine": {"cosine_weight": 0.0},
        "without masked LM": {"mlm_weight": 0.0},
        "masked LM alone": mlm_alone,
    }
    if loss.relation_weight:  # then "without cosine" has them in its place
        found["without relations"] = {"relation_weight": 0.0}
    else:
        found["with relations"] = {"relation_weight": _RELATION_WEIGHT}
    if loss.cosine_weight and not loss.relation_weight:
        instead = {"relation_weight": _RELATION_WEIGHT, "cosine_weight": 0.0}
        found["relations instead of the cosine"] = instead
        found["relations and words"] = {**instead, "distillation_positions": "masked"}
    found["relations alone"] = relations_alone
    if loss.hidden_weight:
        found["without hidden states"] = {"hidden_weight": 0.0}
    else:
        found["with hidden states"] = {"hidden_weight": 1.0}
    return found


def _changed(
    config: DistillConfig, sections: Mapping[str, Mapping[str, Any]]
) -> DistillConfig | None:
    """Change a configuration; None if nothing is left to learn from."""
    loss = {**asdict(config.loss), **sections.get("loss", {})}
    if not any(value for name, value in loss.items() if name.endswith("_weight")):
        return None
    for weight, names in TERM_SETTINGS.items():
        loss |= dict.fromkeys(names if not loss[weight] else ())
    student = replace(config.student, **sections.get("student", {}))
    return replace(config, loss=LossConfig(**loss), student=student)


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
        UserError: as `distill`; or a variant is there with other settings.
        Interrupted: as `distill`.
    """
    config = replace(config, train=replace(config.train, resume="auto"))
    # What is wrong with the last one is to be said before the first one takes hours.
    variants = variants_of(config)
    config = _with_records(config, output / "data")
    variants = {
        name: replace(variant, data=config.data, output=str(output / folder_name(name)))
        for name, variant in variants.items()
    }
    for variant in variants.values():
        RunDirectory(variant.output).check(variant)
    missing = {
        name: variant
        for name, variant in variants.items()
        if not RunDirectory(variant.output).model.exists()
    }
    for number, (name, variant) in enumerate(missing.items(), start=1):
        say(console, f"distilling {number} of {len(missing)}: {name}")
        distill(variant, console)
    return {name: Path(variant.output) / "model" for name, variant in variants.items()}


def _with_records(config: DistillConfig, folder: Path) -> DistillConfig:
    """Prepare the text once for all variants."""
    if config.data.records or config.student.vocabulary:
        return config  # a cut vocabulary is another tokenizer's text, which the runs share
    whole = replace(config.data, validation_share=0.0)
    records, held_out = load_records(whole, load_tokenizer(config.teacher), folder)
    data = replace(config.data, text=[], records=str(records.path))
    if held_out:
        data = replace(data, validation=[], validation_records=str(held_out.path))
    return replace(config, data=data)
