"""Float64 NumPy reference of the losses: plain formulas and closed-form gradients.

Written from the specification, not from `tf_distilbert/losses/per_token.py`, and kept free of
tricks, so that it can be checked by eye. Shapes: `V` vocabulary, `D` hidden; `...` any leading
(token) dimensions. Gradients are those of the *sum* over tokens: entry
`[..., v]` is d loss[...] / d student[..., v].
"""

import numpy as np


def log_softmax(logits):
    """Log-probabilities over the last axis."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits):
    """Probabilities over the last axis."""
    return np.exp(log_softmax(logits))


def one_hot(token_ids, vocabulary_size):
    """`[...]` ids to `[..., V]` zeros and ones."""
    return (np.asarray(token_ids)[..., None] == np.arange(vocabulary_size)).astype(np.float64)


def distillation_loss(student_logits, teacher_logits, temperature):
    """T^2 * KL(teacher || student) per token, both softened by the temperature T."""
    student = log_softmax(np.asarray(student_logits, np.float64) / temperature)
    teacher = log_softmax(np.asarray(teacher_logits, np.float64) / temperature)
    return temperature**2 * np.einsum("...v,...v->...", np.exp(teacher), teacher - student)


def distillation_gradient(student_logits, teacher_logits, temperature):
    """T * (softmax(student / T) - softmax(teacher / T))."""
    student = softmax(np.asarray(student_logits, np.float64) / temperature)
    teacher = softmax(np.asarray(teacher_logits, np.float64) / temperature)
    return temperature * (student - teacher)


def masked_lm_loss(student_logits, token_ids):
    """-ln softmax(student)[token id] per token, at temperature 1."""
    student = log_softmax(student_logits)
    loss = np.empty(student.shape[:-1])
    for position in np.ndindex(loss.shape):
        loss[position] = -student[position][np.asarray(token_ids)[position]]
    return loss


def masked_lm_gradient(student_logits, token_ids):
    """softmax(student) - one_hot(token id)."""
    student = softmax(student_logits)
    return student - one_hot(token_ids, student.shape[-1])


def cosine_loss(student_hidden, teacher_hidden):
    """1 - cos(student, teacher) per token; a zero vector is at cosine 0 of everything."""
    student, teacher = (
        np.asarray(student_hidden, np.float64),
        np.asarray(teacher_hidden, np.float64),
    )
    loss = np.ones(student.shape[:-1])
    for position in np.ndindex(loss.shape):
        norms = np.linalg.norm(student[position]) * np.linalg.norm(teacher[position])
        if norms > 0:
            loss[position] -= student[position] @ teacher[position] / norms
    return loss


def cosine_gradient(student_hidden, teacher_hidden):
    """(cos * student / |student| - teacher / |teacher|) / |student|, for nonzero vectors."""
    student, teacher = (
        np.asarray(student_hidden, np.float64),
        np.asarray(teacher_hidden, np.float64),
    )
    student_norm = np.linalg.norm(student, axis=-1, keepdims=True)
    teacher_norm = np.linalg.norm(teacher, axis=-1, keepdims=True)
    cosine = 1 - cosine_loss(student, teacher)[..., None]
    return (cosine * student / student_norm - teacher / teacher_norm) / student_norm


def logits_mse_loss(student_logits, teacher_logits):
    """Squared difference of the raw logits per token, summed over the vocabulary."""
    difference = np.asarray(student_logits, np.float64) - np.asarray(teacher_logits, np.float64)
    return np.einsum("...v,...v->...", difference, difference)


def logits_mse_gradient(student_logits, teacher_logits):
    """2 * (student - teacher)."""
    return 2 * (np.asarray(student_logits, np.float64) - np.asarray(teacher_logits, np.float64))


def masked_mean(values, mask, count=None):
    """Sum of values * mask where the mask is nonzero, over the count; 0 for count 0."""
    mask = np.asarray(mask, np.float64)
    count = mask.sum() if count is None else count
    total = 0.0
    for position in np.ndindex(mask.shape):
        if mask[position] != 0:
            total += mask[position] * float(np.asarray(values)[position])
    return total / count if count else 0.0


def masked_mean_gradient(mask, count=None):
    """mask / count; 0 for count 0."""
    mask = np.asarray(mask, np.float64)
    count = mask.sum() if count is None else count
    return mask / count if count else np.zeros_like(mask)


def top1_accuracy(student_logits, token_ids, mask):
    """Share of unmasked positions where the student's best token is the right one."""
    correct = np.asarray(student_logits).argmax(axis=-1) == np.asarray(token_ids)
    return masked_mean(correct, mask)


def top1_agreement(student_logits, teacher_logits, mask):
    """Share of unmasked positions where student and teacher have the same best token."""
    return top1_accuracy(student_logits, np.asarray(teacher_logits).argmax(axis=-1), mask)


def relation_loss(student, teacher, related, num_heads):
    """KL(teacher || student) of attention relations per token: a mean over heads, of Q, K and V.

    `student` and `teacher` are `[B, S, 3 * D]`; `related` `[B, S, S]` says which columns a row has.
    """
    theirs, ours = (_relations(each, related, num_heads) for each in (teacher, student))
    loss = np.zeros(student.shape[:2])
    for b, t in np.ndindex(loss.shape):
        columns = related[b, t]
        if columns.any():
            log_ratio = theirs[b, :, t, columns] - ours[b, :, t, columns]
            loss[b, t] = (np.exp(theirs[b, :, t, columns]) * log_ratio).sum() / theirs.shape[1]
    return loss


def relation_gradient(student, teacher, related, num_heads, weights):
    """The gradient of the weighted sum of `relation_loss` over the tokens."""
    theirs, ours = (np.exp(_relations(each, related, num_heads)) for each in (teacher, student))
    rows = np.where(related.any(-1), weights, 0.0)[:, None, :, None]
    of_products = rows * (ours - theirs) / ours.shape[1]
    heads = _heads(student, num_heads)
    both = of_products + of_products.swapaxes(-1, -2)
    of_heads = both @ heads / np.sqrt(heads.shape[-1])
    return of_heads.swapaxes(1, 2).reshape(student.shape)


def _heads(projected, num_heads):
    """`[B, S, 3 * D]` to `[B, 3 * heads, S, size]`."""
    parts = np.asarray(projected, np.float64)
    return parts.reshape(*parts.shape[:2], 3 * num_heads, -1).swapaxes(1, 2)


def _relations(projected, related, num_heads):
    """The logarithm of each relation, -inf where there is none: `[B, 3 * heads, S, S]`."""
    heads = _heads(projected, num_heads)
    products = heads @ heads.swapaxes(-1, -2) / np.sqrt(heads.shape[-1])
    # A row of padding, which relates to nothing, is left uniform.
    shown = related | ~related.any(-1, keepdims=True)
    return log_softmax(np.where(shown[:, None], products, -np.inf))
