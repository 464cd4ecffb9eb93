"""Windows of tokens, written with lists and loops."""

PAD = 0
START = 1
END = 2


def spans_of(count, room, overlap):
    """Of each window of a text: its first token, and the one after its last."""
    spans = [(0, min(room, count))]
    while overlap is not None and spans[-1][1] < count:
        start = spans[-1][0] + max(room - overlap, 1)
        spans.append((start, min(start + room, count)))
    return spans


def owner(token, spans):
    """The window that shows most of what is around a token; of two that show as much, the first.

    As in BERT's run_squad.py, with a hundredth of the window's length. None if no window shows it.
    """
    best, found = -1.0, None
    for number, (start, end) in enumerate(spans):
        context = min(token - start, end - 1 - token) + 0.01 * (end - start)
        if start <= token < end and context > best:
            best, found = context, number
    return found


def rows_of(body, room, overlap=None, prefix=None, separators=1, ids=(START, END)):
    """One dictionary for each window, nothing padded."""
    head = [ids[0]] if prefix is None else [ids[0], *prefix, *[ids[1]] * separators]
    spans = spans_of(len(body), room, overlap)
    return [
        {
            "token_ids": [*head, *body[start:end], ids[1]],
            "segment_ids": [0] * len(head) + [int(prefix is not None)] * (end - start + 1),
            "starts": start,
            "body": len(head),
            "shown": [False] * len(head) + [True] * (end - start) + [False],
            "owned": [
                *[False] * len(head),
                *(owner(token, spans) == number for token in range(start, end)),
                False,
            ],
        }
        for number, (start, end) in enumerate(spans)
    ]
