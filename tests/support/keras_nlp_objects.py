"""Small models of keras-nlp, and what they compute by its own means."""

import keras_nlp
import numpy as np

from support import tiny

FAMILIES = ["Bert", "DistilBert", "Roberta"]
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"\u0120abcdeprinst", "pa"]
ROBERTA_TOKENS += [f"t{i}" for i in range(len(tiny.VOCABULARY) - len(ROBERTA_TOKENS))]


def tokenizer(family, **settings):
    made = getattr(keras_nlp.models, f"{family}Tokenizer")
    if family == "Roberta":
        return made({token: i for i, token in enumerate(ROBERTA_TOKENS)}, ["p a"])
    return made(tiny.VOCABULARY, **{"lowercase": True, "strip_accents": True} | settings)


def backbone(family, num_layers=3, dropout=0.0):
    return getattr(keras_nlp.models, f"{family}Backbone")(
        len(tiny.VOCABULARY), num_layers, 2, 16, 32, dropout=dropout, max_sequence_length=32
    )


def task(family, seed=0, with_preprocessor=True, **sizes):
    """A masked language model of keras-nlp's, all of whose weights are random."""
    preprocessor = None
    if with_preprocessor:
        preprocessor = getattr(keras_nlp.models, f"{family}MaskedLMPreprocessor")(
            tokenizer(family), sequence_length=16, mask_selection_length=4
        )
    made = getattr(keras_nlp.models, f"{family}MaskedLM")(backbone(family, **sizes), preprocessor)
    generator = np.random.default_rng(seed)
    for variable in made.weights:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return made


def own_inputs(family, inputs, segment_ids=None):
    """What keras-nlp takes: integers, and segments for a BERT."""
    taken = {name: value.astype("int32") for name, value in inputs.items()}
    if family == "Bert":
        taken["segment_ids"] = np.zeros_like(taken["token_ids"])
        if segment_ids is not None:
            taken["segment_ids"] = segment_ids
    return taken


def last_hidden_state(family, model, inputs):
    inputs = {name: value for name, value in inputs.items() if name != "mask_positions"}
    output = model(inputs)
    return output["sequence_output"] if family == "Bert" else output


def one_line(error):
    assert "\n" not in str(error.value)
