"""Heads that read a sequence: the support set's examples with their labels, one after the other, and a query last.

| head | reads | known as |
|---|---|---|
| `lstm` | with a recurrent network, whose state is all that it knows of the task | Hochreiter et al. 2001 |
| `mann` | with one that writes to a memory, and finds there by content | MANN (Santoro et al. 2016) |
| `snail` | with causal convolutions and attention | SNAIL (Mishra et al. 2018) |

Nothing adapts: what a task teaches is in activations. A sequence has the classes and examples of each that the head was
trained with, the classes in turn; more examples are left out, fewer leave gaps that are passed over. Each query is the
end of a sequence of its own, without a label, so that no answer depends on the other queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from fewshot.models.reading import MemoryHead, shut


class SequenceHead(MemoryHead):
    """Keeps the examples of a sequence, whose length was chosen in training."""

    pictures_only = "reads a sequence of a few examples, and pixels are labelled by the thousand"

    def __init__(self, outputs: int, *, shots: int = 1, **kwargs: Any) -> None:
        """Make the head.

        Args:
            outputs: Classes, each an entry of the labels that are read.
            shots: Examples of a class in a sequence.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(kept=shots, **kwargs)
        self.outputs: int = outputs

    @property
    def length(self) -> int:
        """Examples of a sequence, without the query."""
        return self.kept * self.outputs

    def sequence(self, layer: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return examples with their labels [length, features + classes], and which are no gaps [length]; gaps are 0.

        Args:
            layer: What `start` kept.
        """
        memory, shares = layer
        there = tf.reshape(shares, [self.length]) > 0
        examples = tf.reshape(tf.transpose(memory, [0, 2, 1]), [self.length, memory.shape[1]])
        labels = tf.tile(tf.eye(self.outputs, dtype=memory.dtype), [self.kept, 1])
        return tf.concat([examples, labels], axis=1) * tf.cast(there, memory.dtype)[:, None], there

    def queries(self, features: tf.Tensor) -> tf.Tensor:
        """Return queries [m, features + classes] as elements of a sequence, whose label is not known."""
        self.require_pictures(features)
        return tf.pad(features, [[0, 0], [0, self.outputs]])


class RecurrentHead(SequenceHead):
    """Reads with a recurrent network; every query goes on from the state that the examples left."""

    def make_cell(self) -> keras.layers.Layer:
        """Return one step of the network."""
        raise NotImplementedError

    def build_for(self, features: int) -> None:
        """Create the network, and the layer on what it says last."""
        self.network = keras.layers.RNN(self.make_cell(), return_state=True, name="network")
        self.network.build((1, self.length, features + self.outputs))
        self.out = keras.layers.Dense(self.outputs, name="out")
        self.out.build((None, self.network.cell.output_size))
        self.built = True

    def read(self, features: tf.Tensor, layer: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the logits of each query, one step after the examples."""
        examples, there = self.sequence(layer)
        queries = self.queries(features)
        _, *states = self.network(examples[None], mask=there[None])
        answer, _ = self.network.cell(queries, [tf.repeat(state, tf.shape(queries)[0], axis=0) for state in states])
        return self.out(answer) + shut(layer[1])


class LstmHead(RecurrentHead):
    """Learning to learn with an LSTM (Hochreiter et al. 2001): 200 units, as the baseline of MANN."""

    units: ClassVar[int] = 200

    def make_cell(self) -> keras.layers.Layer:
        """Return an LSTM's step."""
        return keras.layers.LSTMCell(self.units, name="cell")


class MannHead(RecurrentHead):
    """Memory-augmented network (Santoro et al. 2016); a label comes with its example, there one step later."""

    def make_cell(self) -> keras.layers.Layer:
        """Return the step of an LSTM beside a memory."""
        return MemoryCell(name="cell")


class MemoryCell(keras.layers.Layer):
    """An LSTM that writes keys to a memory of slots, and reads the slots that are like them (Santoro et al. 2016).

    Each of several heads writes to what it read last or over what was used least, by a gate (eq. 6 to 8), and reads by
    the softmax of scaled cosines (eq. 2 to 4). The scale is learned; the paper has none.
    """

    units, slots, width, heads = 200, 128, 40, 4
    usage_decay = 0.95
    empty = 1e-6
    """What slots hold first: the direction of zeros is not defined."""

    def __init__(self, **kwargs: Any) -> None:
        """Make the controller, the keys and the gates that come of it."""
        super().__init__(**kwargs)
        self.output_size = self.units + self.heads * self.width
        self.state_size = [self.units, self.units, self.slots * self.width, self.slots, self.heads * self.slots]
        self.controller = keras.layers.LSTMCell(self.units, name="controller")
        self.key = keras.layers.Dense(self.heads * self.width, "tanh", name="key")
        self.gate = keras.layers.Dense(self.heads, "sigmoid", name="gate")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, for elements `[n, input_shape[-1]]`."""
        self.controller.build((None, (input_shape[-1] or 0) + self.heads * self.width))
        for layer in (self.key, self.gate):
            layer.build((None, self.units))
        start = keras.initializers.Constant(math.log(10.0))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=start)

    def get_initial_state(self, batch_size: int) -> list[tf.Tensor]:
        """Return the controller's two states, the slots, how much each was used, and where each head read."""
        shapes = ([self.units], [self.units], [self.slots, self.width], [self.slots], [self.heads, self.slots])
        states = [tf.zeros([batch_size, *shape], self.compute_dtype) for shape in shapes]
        states[2] += self.empty
        return states

    def call(self, element: tf.Tensor, states: Sequence[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Take one step; return hidden units and what was read `[n, output_size]`, and the states.

        Args:
            element: [n, features + classes].
            states: As `get_initial_state` has them.
        """
        hidden, cell, memory, usage, reading = states
        seen = tf.concat([element, self.found(reading, memory)], axis=1)
        hidden, (_, cell) = self.controller(seen, [hidden, cell])
        keys = tf.reshape(self.key(hidden), [-1, self.heads, self.width])
        gate = self.gate(hidden)[:, :, None]
        least = tf.one_hot(tf.math.top_k(-usage, self.heads).indices, self.slots, dtype=keys.dtype)
        writing = gate * reading + (1 - gate) * least  # [n, heads, slots]
        memory *= 1 - tf.reduce_sum(least, axis=1)[:, :, None]
        memory += tf.matmul(writing, keys, transpose_a=True)
        near = tf.matmul(tf.math.l2_normalize(keys, -1), tf.math.l2_normalize(memory, -1), transpose_b=True)
        reading = tf.nn.softmax(tf.exp(tf.cast(self.log_scale, near.dtype)) * near)
        usage = self.usage_decay * usage + tf.reduce_sum(reading + writing, axis=1)
        return tf.concat([hidden, self.found(reading, memory)], axis=1), [hidden, cell, memory, usage, reading]

    def found(self, reading: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        """Return what the heads read [n, heads * width] where they read [n, heads, slots]."""
        return tf.reshape(reading @ memory, [-1, self.heads * self.width])


class SnailHead(SequenceHead):
    """Attention and causal convolutions in turn (SNAIL, Mishra et al. 2018): sizes of its network for Omniglot."""

    attention: ClassVar[tuple[tuple[int, int], ...]] = ((64, 32), (256, 128), (512, 256))
    filters: ClassVar[int] = 128

    def build_for(self, features: int) -> None:
        """Create the blocks; those of convolutions double their reach until it is the sequence."""
        doublings = math.ceil(math.log2(self.length + 1))
        self.blocks: list[keras.layers.Layer] = []
        for number, (keys, values) in enumerate(self.attention):
            if number:
                self.blocks += [CausalConvolution(self.filters, 2**power) for power in range(doublings)]
            self.blocks.append(CausalAttention(keys, values))
        width = features + self.outputs
        for block in self.blocks:
            block.build((None, width))
            width += block.adds
        self.out = keras.layers.Dense(self.outputs, name="out")
        self.out.build((None, width))
        self.built = True

    def read(self, features: tf.Tensor, layer: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the logits of each query; what the examples become is computed once for all of them."""
        examples, there = self.sequence(layer)
        queries = self.queries(features)
        places, last = tf.range(self.length), tf.fill([tf.shape(queries)[0]], self.length)
        for block in self.blocks:
            queries, examples = block(queries, last, examples, there), block(examples, places, examples, there)
        return self.out(queries) + shut(layer[1])


class CausalConvolution(keras.layers.Layer):
    """A gated convolution of an element and one before it, joined to the element: a dense block of SNAIL."""

    def __init__(self, filters: int, dilation: int, **kwargs: Any) -> None:
        """Make the block.

        Args:
            filters: Channels that it adds.
            dilation: How far before is the other element; 0 where the sequence does not reach so far.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.adds, self.dilation = filters, dilation
        self.content = keras.layers.Dense(filters, "tanh", name="content")
        self.gate = keras.layers.Dense(filters, "sigmoid", name="gate")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernels, for elements `[n, input_shape[-1]]`."""
        for layer in (self.content, self.gate):
            layer.build((None, 2 * (input_shape[-1] or 0)))

    def call(self, asked: tf.Tensor, places: tf.Tensor, examples: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """Return elements [n, channels + filters].

        Args:
            asked: [n, channels].
            places: [n] of the elements in the sequence.
            examples: [length, channels] of the sequence.
            there: [length], gaps are False; they are zeros at first, and count as such.
        """
        del there
        before = places - self.dilation
        other = tf.gather(examples, tf.maximum(before, 0)) * tf.cast(before >= 0, examples.dtype)[:, None]
        both = tf.concat([other, asked], axis=1)
        return tf.concat([asked, self.content(both) * self.gate(both)], axis=1)


class CausalAttention(keras.layers.Layer):
    """What elements find in those before them and in themselves, joined to them (SNAIL, after Vaswani et al. 2017)."""

    def __init__(self, keys: int, values: int, **kwargs: Any) -> None:
        """Make the block.

        Args:
            keys: Channels that are compared.
            values: Channels that it adds.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.adds = values
        self.question = keras.layers.Dense(keys, name="question")
        self.key = keras.layers.Dense(keys, name="key")
        self.value = keras.layers.Dense(values, name="value")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernels, for elements `[n, input_shape[-1]]`."""
        for layer in (self.question, self.key, self.value):
            layer.build((None, input_shape[-1]))

    def call(self, asked: tf.Tensor, places: tf.Tensor, examples: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """Return elements [n, channels + values].

        Args:
            asked: [n, channels].
            places: [n] of the elements in the sequence.
            examples: [length, channels] of the sequence.
            there: [length], gaps are False; nothing is found there.
        """
        questions = self.question(asked)
        past = there & (tf.range(tf.shape(examples)[0]) < places[:, None])  # [n, length]
        others = tf.matmul(questions, self.key(examples), transpose_b=True)
        itself = tf.reduce_sum(questions * self.key(asked), axis=1, keepdims=True)
        scores = tf.concat([tf.where(past, others, others.dtype.min), itself], axis=1)
        shares = tf.nn.softmax(scores / math.sqrt(questions.shape[-1]))
        found = shares[:, :-1] @ self.value(examples) + shares[:, -1:] * self.value(asked)
        return tf.concat([asked, found], axis=1)
