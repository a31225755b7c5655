"""Text, character by character: a network that tells the next one from all before it.

One text is a single long sequence, cut into parallel streams for training. A list of texts is a sequence each, with
a mark around it, so that the network learns how texts begin and where they end:

    "abc"              inputs  a b       targets  b c
    ["abc", "de"]      inputs  ^ a b c   targets  a b c ^,    ^ d e   d e ^
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import stack
from elman.estimators.characters import encode, place, read_texts
from elman.estimators.extra import BaseEstimator, check_is_fitted, random_generator
from elman.estimators.files import Fitted
from elman.layers import Dense, Dropout, Embedding
from elman.layers.pointwise import dropout_rate
from elman.network import Network
from elman.tables.places import check_no_y
from elman.training import CrossEntropy, History, LinearSchedule, fit
from elman.training.checkpoints import Checkpoint
from elman.training.history import Epoch
from elman.training.schedules import Schedule
from elman.training.windows import read_truncate

STEPS_PER_SCORE = 1 << 13  #: steps computed at a time in `nats`, so that its memory does not grow with the text


class TextGenerator(Fitted, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Learns a text character by character, and writes in its manner.

    Parameters
    ----------
    cell
        "lstm", "gru" or "rnn".
    hidden
        Units of each recurrent layer, from the first on; a number for one layer.
    embedding
        Numbers that stand for a character.
    dropout
        The share of values set to 0 in training, between recurrent layers and before the output.
    recurrent_dropout
        The share of hidden units that a layer does not see of its own last step, the same all along a window.
    truncate
        Characters through which gradients go back: k, or (k1, k2), see `elman.fit`. The state goes on without end.
    batch_size
        Streams into which one text is cut, or texts of a list, an update. A short text is cut into fewer, so that
        each has ten windows of `truncate` characters.
    epochs
        Rounds over the text.
    learning_rate
        Of Adam. A number is reached over the first fiftieth of the run and falls to 0 in a line; a schedule such as
        `elman.CosineSchedule` goes its own way.
    weight_decay
        With a number over 0 the optimizer is `elman.AdamW`.
    clip_norm
        Limit for the norm of all gradients together, None for none.
    validation_fraction, patience
        This share is set aside, the end of one text, or texts of a list drawn at random, and its loss is measured
        after each epoch. With patience, training stops after so many epochs without a lower one; the weights are
        those of the best epoch.
    dtype
        "float32" or "float64".
    checkpoint
        A path, or an `elman.Checkpoint`: the run is kept there, and goes on from there when it was interrupted; see
        `elman.fit`. It needs a `random_state`.
    log
        A path: the history as JSON lines, one per epoch, written as the run goes; see `elman.History.read`.
    after_epoch
        A function that is called after every epoch, and can stop the training; see `elman.fit`.
    progress
        Shows how training goes on stderr.
    random_state
        A number makes fit repeatable, bit by bit; also a `numpy.random.RandomState`, or None.

    Attributes
    ----------
    vocabulary_
        The characters of the text, sorted, as one string. A character's place in it is its token; texts of a list
        have the mark of their ends as one token more, the last.
    network_
        The trained `elman.Network`, from tokens to one score per token. It can be saved, streamed and looked into.
    frequencies_
        (tokens,): how often each comes in the text, as a share.
    history_
        The `elman.History` of the training.

    Notes
    -----
    Raises, before any training, `ShapeError`, `TypeError` or `ValueError` where an argument or a text does not fit.
    The model is that of Graves 2013, "Generating Sequences With Recurrent Neural Networks", section 3.1, with one
    layer unless `hidden` names more.

    >>> writer = TextGenerator(hidden=32, embedding=4, dropout=0.0, truncate=16, epochs=40, random_state=0)
    >>> writer.fit("to be or not to be, that is the question: " * 8).generate(28, "to be", temperature=0)
    'to be or not to be, that is the q'
    """

    vocabulary_: str
    frequencies_: Array
    network_: Network
    history_: History
    ends_: bool

    def __init__(
        self,
        cell: str = "lstm",
        hidden: int | tuple[int, ...] = 128,
        *,
        embedding: int = 32,
        dropout: float = 0.1,
        recurrent_dropout: float = 0.0,
        truncate: int | tuple[int, int] = 64,
        batch_size: int = 32,
        epochs: int = 10,
        learning_rate: float | Schedule = 0.01,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        dtype: Any = "float32",
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        log: str | os.PathLike[str] | None = None,
        after_epoch: Callable[[Epoch], object] | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.embedding = embedding
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.truncate = truncate
        self.batch_size = batch_size
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.checkpoint = checkpoint
        self.log = log
        self.after_epoch = after_epoch
        self.progress = progress
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns one text (a string), or a list of texts; `y` is left out, as scikit-learn's tools do.

        One text must have more characters than a window of `truncate`; texts of a list may have any length, but
        none.
        """
        check_no_y(y)
        self._check_arguments()
        texts, ends = read_texts(X), not isinstance(X, str)
        vocabulary = "".join(sorted(set().union(*texts)))
        rng = random_generator(self.random_state, self.checkpoint)
        symbols = len(vocabulary) + ends
        network = self._build(symbols, stack.draw_seeds(rng))
        sequences = [encode(place(X, i), text, vocabulary, ends) for i, text in enumerate(texts)]
        counts = np.bincount(np.concatenate([part[int(ends) :] for part in sequences]), minlength=symbols)
        train, held_out = self._set_aside(sequences, ends, rng)
        streams = self.batch_size if ends else min(self.batch_size, max(1, len(train[0]) // (10 * self._window)))
        history = fit(
            network,
            *_shifted(train, ends),
            optimizer=stack.adam(self.learning_rate, self.weight_decay, partial(LinearSchedule, warmup=0.02)),
            epochs=self.epochs,
            batch_size=streams,
            validation=_shifted(held_out, ends) if held_out else None,
            clip_norm=self.clip_norm,
            patience=self.patience,
            truncate=self.truncate,
            checkpoint=self.checkpoint,
            log=self.log,
            after_epoch=self.after_epoch,
            seed=next(stack.draw_seeds(rng)),
            progress=self.progress,
        )
        self.vocabulary_, self.frequencies_, self.ends_ = vocabulary, counts / counts.sum(), ends
        self.network_, self.history_ = network, history
        return self

    def _network(self) -> Network:
        raise ValueError(
            "an estimator must tell numbers for a network to give them. Got a TextGenerator, which draws characters; "
            "its network_ gives a score for each."
        )

    def _facts(self) -> Iterator[tuple[str, Any, Any]]:
        symbols = len(self.vocabulary_) + self.ends_
        yield (
            "the tokens and outputs of network_",
            (self.network_.tokens, self.network_.output_size),
            (symbols, symbols),
        )
        yield "the shape of frequencies_", self.frequencies_.shape, (symbols,)

    def generate(
        self,
        length: int = 200,
        prefix: str = "",
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> str:
        """`prefix`, and up to `length` characters that go on from it.

        Each is drawn from the softmax of the network's scores divided by `temperature`: under 1 keeps to what is
        likely, over 1 strays from it, and 0 always takes the likeliest. With `top_k` only so many of the likeliest
        are drawn from. The same `seed` gives the same text; None draws one.

        A network that learned a list of texts begins a text as those begin, and stops where it ends it. One that
        learned a single text has only one beginning to go by: without a prefix the first character is drawn as often
        as the text has it, whatever the temperature.
        """
        check_is_fitted(self)
        length, seed = checks.size("length", length), checks.seed("seed", seed)
        checks.number("temperature", temperature, 0)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a string. Got {checks.describe(prefix)}.")
        symbols = len(self.vocabulary_) + self.ends_
        if top_k is not None and checks.size("top_k", top_k) > symbols:
            raise ValueError(f"top_k must be at most {symbols}, the tokens there are. Got {top_k}.")
        rng = np.random.default_rng(seed)
        tokens = encode("prefix", prefix, self.vocabulary_, False)
        if self.ends_:
            tokens = np.insert(tokens, 0, symbols - 1)
        written = ""
        if not len(tokens):
            tokens = rng.choice(symbols, 1, p=self.frequencies_)  # (1,)
            written = self.vocabulary_[tokens[0]]
        stream = self.network_.stream()
        scores = stream.run(tokens)[-1]
        while len(written) < length:
            token = _draw(scores.astype(np.float64), temperature, top_k, rng)
            if self.ends_ and token == symbols - 1:
                break
            written += self.vocabulary_[token]
            scores = stream.step(token)
        return prefix + written

    def nats(self, X: Any) -> float:
        """The mean negative log-likelihood of a character, in nats, each told from all before it.

        X is one text, or a list of texts, whichever `fit` took. Of one text the first character is given and not
        counted; it goes through the network from end to end, the state carried all along. Of texts in a list every
        character counts, and the end. Divided by log(2) it is bits a character, exp of it the perplexity.
        """
        check_is_fitted(self)
        if isinstance(X, str) == self.ends_:
            wanted = "a list of texts" if self.ends_ else "one text"
            raise TypeError(f"X must be {wanted}, as fit took it. Got {checks.describe(X)}.")
        texts = read_texts(X)
        total, count = 0.0, 0
        sequences = [encode(place(X, i), text, self.vocabulary_, self.ends_) for i, text in enumerate(texts)]
        if len(sequences[0]) < 2:  # with the marks of a list there are always more
            raise ValueError("X must have at least 2 characters. Got 1.")
        for losses in self._losses(sequences):
            total, count = total + float(losses.sum(dtype=np.float64)), count + len(losses)
        return total / count

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-likelihood of a character, -`nats`: higher is better."""
        check_no_y(y)
        return -self.nats(X)

    @property
    def _window(self) -> int:
        return self.truncate if isinstance(self.truncate, (int, np.integer)) else self.truncate[1]

    def _check_arguments(self) -> None:
        checks.choice("cell", self.cell, stack.CELLS)
        stack.sizes(self.hidden)
        for name in ("embedding", "batch_size", "epochs"):
            checks.size(name, getattr(self, name))
        for name in ("dropout", "recurrent_dropout"):
            dropout_rate(name, getattr(self, name))
        if self.truncate is None:
            raise ValueError("truncate must be k or (k1, k2). Got None.")
        read_truncate(self.truncate)
        if not callable(self.learning_rate):
            checks.number("learning_rate", self.learning_rate, 0, open_low=True)
        checks.number("weight_decay", self.weight_decay, 0)
        fraction = checks.number("validation_fraction", self.validation_fraction, 0, 1)
        if fraction == 1:
            raise ValueError("validation_fraction must be under 1. Got 1.")
        if self.patience is not None and fraction == 0:
            raise ValueError("validation_fraction must be over 0 where patience is given. Got 0.")
        checks.flag("progress", self.progress)
        checks.float_dtype(self.dtype)

    def _build(self, symbols: int, seeds: Iterator[int]) -> Network:
        """A new network from tokens to a score per token."""
        dtype = str(checks.float_dtype(self.dtype))
        options = {"recurrent_dropout": self.recurrent_dropout, "dtype": dtype}
        first = Embedding(symbols, self.embedding, seed=next(seeds), dtype=dtype)
        layers, width = stack.recurrent_layers(
            self.cell, self.embedding, stack.sizes(self.hidden), seeds, self.dropout, **options
        )
        if self.dropout:
            layers.append(Dropout(self.dropout))
        return Network([first, *layers, Dense(width, symbols, seed=next(seeds), dtype=dtype)])

    def _set_aside(
        self, sequences: list[Array], ends: bool, rng: np.random.RandomState
    ) -> tuple[list[Array], list[Array]]:
        """What to train on, and what to measure the validation loss on."""
        train, held_out = sequences, []
        if not ends:
            (tokens,) = sequences
            count = round(len(tokens) * self.validation_fraction)
            train, held_out = [tokens[: len(tokens) - count]], [tokens[len(tokens) - count :]]
            if len(train[0]) <= self._window:
                raise ShapeError(
                    f"X must have more than {self._window} characters to train on, the window of truncate. "
                    f"Got {len(train[0])}."
                )
            if self.validation_fraction and count < 2:
                raise ValueError(f"validation_fraction must set 2 characters aside or more. Got {count}.")
            held_out = held_out if count else []
        elif self.validation_fraction:
            count = round(len(sequences) * self.validation_fraction)
            if not 0 < count < len(sequences):
                raise ValueError(
                    f"validation_fraction must leave texts on both sides. Got {self.validation_fraction} of "
                    f"{len(sequences)} texts, which is {count}."
                )
            order = rng.permutation(len(sequences))
            train, held_out = [sequences[i] for i in order[count:]], [sequences[i] for i in order[:count]]
        return train, held_out

    def _losses(self, sequences: list[Array]) -> Iterator[Array]:
        """The loss of every character, a chunk of steps at a time: short texts together, a long one in pieces."""
        loss, together, steps = CrossEntropy(), [], 0
        for tokens in sequences:
            if len(tokens) > STEPS_PER_SCORE:
                state = None
                for start in range(0, len(tokens) - 1, STEPS_PER_SCORE):
                    target = tokens[start + 1 : start + 1 + STEPS_PER_SCORE]
                    scores, state = self.network_(tokens[start : start + len(target)], state)
                    yield loss.rows(scores, target)
                continue
            together.append(tokens)
            steps += len(tokens)
            if steps > STEPS_PER_SCORE:
                yield from self._losses_of(together)
                together, steps = [], 0
        yield from self._losses_of(together)

    def _losses_of(self, sequences: list[Array]) -> Iterator[Array]:
        if sequences:
            scores, _ = self.network_([tokens[:-1] for tokens in sequences])
            yield CrossEntropy().rows(np.concatenate(scores), np.concatenate([tokens[1:] for tokens in sequences]))


def _shifted(sequences: list[Array], ends: bool) -> tuple[Any, Any]:
    """Inputs and targets, in the form that fit takes: a list of texts, or one sequence."""
    x, y = [tokens[:-1] for tokens in sequences], [tokens[1:] for tokens in sequences]
    return (x, y) if ends else (x[0], y[0])


def _draw(scores: Array, temperature: float, top_k: int | None, rng: np.random.Generator) -> int:
    """A token, from the scores (tokens,) of the network."""
    if temperature == 0:
        return int(scores.argmax())
    if top_k is not None:
        scores = np.where(np.argsort(np.argsort(-scores, kind="stable")) < top_k, scores, -np.inf)
    with np.errstate(over="ignore"):  # a temperature near 0 leaves the likeliest alone
        bounds = np.exp((scores - scores.max()) / temperature).cumsum()
    return int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))
