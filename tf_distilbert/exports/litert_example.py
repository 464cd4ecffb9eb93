"""Run a LiteRT export on a text; needs ai-edge-litert, numpy and tokenizers alone.

    python example.py "A text."                  or, of two texts: python example.py "One." "Two."

On a phone the same steps are taken by LiteRT's interpreter and any WordPiece tokenizer.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizers import BertWordPieceTokenizer

FOLDER = Path(__file__).parent


def main(*texts: str) -> None:
    """Print the model's raw output, and the label or words that it stands for."""
    metadata = json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))
    settings = json.loads((FOLDER / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer = BertWordPieceTokenizer(
        str(FOLDER / "vocab.txt"),
        lowercase=settings["do_lower_case"],
        strip_accents=settings["strip_accents"],
        handle_chinese_chars=settings["tokenize_chinese_chars"],
    )
    length = metadata["max_length"]
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encoding = tokenizer.encode(metadata.get("prompt", "") + texts[0], *texts[1:])

    columns = {
        "token_ids": encoding.ids,
        "padding_mask": encoding.attention_mask,
        "segment_ids": encoding.type_ids,
    }
    if "mask_positions" in metadata["inputs"]:
        places = [i for i, token in enumerate(encoding.tokens) if token == "[MASK]"]
        slots = metadata["input_shapes"]["mask_positions"][1]
        places = places[:slots]
        columns["mask_positions"] = places + [0] * (slots - len(places))
    inputs = {name: np.array([columns[name]], np.int32) for name in metadata["inputs"]}

    run = Interpreter(str(FOLDER / metadata["file"])).get_signature_runner()
    output = run(**inputs)[metadata["output"]][0]
    if metadata["task"] == "masked_lm":
        for place, logits in zip(places, output, strict=False):
            best = np.argsort(-logits)[:5]
            print(place, [tokenizer.id_to_token(int(token)) for token in best])
    elif metadata["task"] == "sequence_classification":
        names = metadata["labels"] if metadata["problem"] != "regression" else ["value"]
        print(names[int(output.argmax())], output)
    elif metadata["task"] == "token_classification":
        for token, logits in zip(encoding.tokens, output, strict=True):
            if token != "[PAD]":
                print(token, metadata["labels"][int(logits.argmax())])
    elif metadata["task"] == "question_answering":
        context = np.array([sequence == 1 for sequence in encoding.sequence_ids])
        output = np.where(context[:, None], output, -np.inf)
        start = int(output[:, 0].argmax())
        end = start + int(output[start:, 1].argmax())
        print(texts[1][encoding.offsets[start][0] : encoding.offsets[end][1]])
    elif metadata["task"] == "embedding":
        print(output)  # the text's vector
    else:
        print(output[0])  # the last hidden state of [CLS]


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
