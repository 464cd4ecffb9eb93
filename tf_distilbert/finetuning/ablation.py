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
from tf_distilbert.train import distill

WHOLE = "triple loss"

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        WHOLE: {},
        "without distillation": {"loss": {"distillation_weight": 0.0}},
        "without cosine": {"loss": {"cosine_weight": 0.0}},
        "without masked LM": {"loss": {"mlm_weight": 0.0}},
        "masked LM alone": {"loss": {"distillation_weight": 0.0, "cosine_weight": 0.0}},
        "random initialisation": {"student": {"initialize_from": "random"}},
    }
)
"""Name to what differs from the configuration, section by section."""


def distil_variants(config: DistillConfig, output: Path, console: Console) -> dict[str, Path]:
    """Distil every variant from the same start with the same budget.

    What is there already is kept, and what was stopped goes on.

    Args:
        config: of the whole recipe; its own output is not used.
        output: the folder of the runs, one a variant.
        console: where progress is shown.

    Returns:
        Name to the folder of the model.

    Raises:
        UserError: as `distill`.
        Interrupted: as `distill`.
    """
    found = {}
    for name, sections in VARIANTS.items():
        run = output / name.replace(" ", "-")
        found[name] = run / "model"
        if (run / "model").exists():
            continue
        console.print(f"[bold]{name}[/bold]")
        changed = {key: replace(getattr(config, key), **new) for key, new in sections.items()}
        train = replace(config.train, resume="auto")
        # All prepare the same text; it is prepared once.
        distill(replace(config, output=str(run), train=train, **changed), console)
    return found
