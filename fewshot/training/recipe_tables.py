"""What a recipe sets apart from its data: the tasks, the network, the learner and the outer loop, each a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TasksTable:
    """The tasks that training draws.

    Attributes:
        target: `images`, each of one class; or `pixels`, each of a class of its own (segmentation).
        points: With pixels: labelled pixels of each class to keep in each support window; 0 for all.
        fewest_points: With pixels and points: in training, how many are kept is drawn for each task, from this number
            to `points`, so that the learner meets few and many; 0 for always `points`.
        ways: Classes of a task; with pixels, a region has as many as it has.
        shots: Support examples a class, a list gives each class its own; with pixels, support windows.
        queries: Query examples a class; with pixels, query windows.
        labels: `task` numbers a task's classes 0..ways-1 at random; `global` is the class itself.
        disjoint_sources: Draw support and query from different patches or drawers.
        within_region: Probability that a task's classes come from one region.
        fixed_share: Share of the tasks that are the source's own fixed tasks.
        swap: Swap support and query of fixed tasks at random.
        validation_queries: Queries a class in validation and evaluation.
        evaluation_within_region: As `within_region`, for validation and evaluation.
    """

    target: Literal["images", "pixels"] = "images"
    points: int = 0
    fewest_points: int = 0
    ways: int = 5
    shots: tuple[int, ...] | int = 1
    queries: int = 1
    labels: Literal["task", "global"] = "task"
    disjoint_sources: bool = False
    within_region: float = 1.0
    fixed_share: float = 0.0
    swap: bool = False
    validation_queries: int = 1
    evaluation_within_region: float = 1.0


@dataclass(frozen=True)
class NetworkTable:
    """The network that is adapted.

    Attributes:
        kind: One of `fewshot.training.build.NETWORKS`.
        normalization: A kind of `fewshot.models.normalization`.
        standardise: Take each band's mean and deviation over the support set away first, so that units do not matter.
        filters: Of conv4, one number or one a block; of a pretrained model's decoder where pixels are labelled.
        blocks: Of conv4.
        downsample: `pool` or `stride`, of conv4.
        readout: `flatten`, `average` or `depths` (averages of the bands and of every block, normalised), of conv4.
            (resnet12 averages, or keeps its pixels where these are labelled.)
        units: Of mlp's layers.
        widths: Filters of resnet12's blocks or unet's levels.
        context: Numbers that stand for a task inside the network; 0 for none. With learner.adapts = "context" they are
            all that adapts.
        context_kind: `film` scales and shifts channels, `join` adds channels.
        file: Of keras: a model as `keras.Model.save` writes it (.keras), or ...
        application: ... the name of one of `keras.applications`, without its top; downloaded by Keras if need be.
        weights: Of the application: `imagenet`, a file, or empty for random ones.
        layers: Of keras: names of the layers whose outputs are the features, each averaged over the picture; empty for
            the model's own output.
        size: Of keras: pixels of the side that pictures are brought to; 0 for their own.
        scaling: Of keras: what the model expects: red, green and blue from 0 to 1, 0 to 255 or -1 to 1, or 0-1 less
            ImageNet's mean over its deviation; `own` is the application's own, and 0 to 1 for a file.
        gain: Of keras: pictures are multiplied by it first; reflectance is some three times darker than photographs.
        rgb: Of keras: which bands are red, green and blue, the first is 1; found by name or wavelength if empty.
        mirror: Of keras: take the mean with the features of the mirror image.
        frozen: Of keras: the pretrained model stays as it is, in meta-training and in adaptation.
        projection: Of keras: numbers that the features are projected to, linearly; 0 for no projection.
        variants: Of keras: changed copies of each training picture, itself among them, whose frozen features are
            computed once and kept in the run folder; 0 to compute features whenever a picture is drawn.
        feature_dropout: Of keras with variants: probability that a training task lacks a feature, which is then 0 in
            all of its pictures.
    """

    kind: str = "conv4"
    normalization: str = "support"
    standardise: bool = False
    filters: int | tuple[int, ...] = 64
    blocks: int = 4
    downsample: Literal["pool", "stride"] = "pool"
    readout: Literal["flatten", "average", "depths"] = "flatten"
    units: tuple[int, ...] = (256, 128, 64, 64)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    context: int = 0
    context_kind: Literal["film", "join"] = "film"
    file: str = ""
    application: str = ""
    weights: str = "imagenet"
    layers: tuple[str, ...] = ()
    size: int = 0
    scaling: Literal["own", "0-1", "0-255", "-1-1", "imagenet"] = "own"
    gain: float = 1.0
    rgb: tuple[int, ...] = ()
    mirror: bool = False
    frozen: bool = True
    projection: int = 0
    variants: int = 8
    feature_dropout: float = 0.0


@dataclass(frozen=True)
class LearnerTable:
    """How the learner adapts.

    Attributes:
        head: `fixed`, `shared`, `prototype`, `cosine`, or one that solves a problem of the support set: `ridge`,
            `logistic`, `svm`; or one that reads it: `matching`, `siamese`, `relation`, `propagation` (transductive),
            and as a sequence, whose ways are those of training: `lstm`, `mann`, `snail`.
        strength: Of a solving head's regularisation, where it starts; 0 for a tenth of the number of features.
        scale: Of a solving head's logits, where it starts.
        kept: Examples of a class that a head which reads compares with, at most; where pixels are labelled, many more
            than pictures have.
        restrict: A fixed head rules out classes that the support set does not show; the others always do.
        balanced: Each class of the support counts equally in the inner loss.
        rule: How a gradient moves parameters: `gradient` descent, `momentum`, `adam`, or learned: `meta_lstm`, `lstm`,
            `hierarchical`.
        decay: Of momentum, and of Adam's running mean of gradients.
        rates: `constant` (MAML), one learned `scalar`, `per_tensor` (MAML++) or `per_parameter` (Meta-SGD).
        rate: The inner rate, or where learned rates start.
        least_rate: Learned rates start at random between this and `rate`; 0 for `rate` itself.
        steps: Inner steps in training; 0 with prototypes is a prototypical network.
        evaluation_steps: Inner steps in validation and evaluation; 0 for as many as in training.
        vary_steps: In training, answer after 0, 1, 2 ... `steps` steps in turn, batch by batch, so that the start is
            good for few and for many.
        backward: How the meta-gradient passes through the inner steps: `exact` (MAML), `checkpointed` (the same in the
            memory of one step), `first_order` (FOMAML), `truncated` (through the last steps), `implicit` (iMAML) or
            `neumann`, the derivative of the minimum.
        backward_steps: Steps that `truncated` differentiates, iterations of `implicit`, terms of `neumann`.
        proximity: Pull of the inner steps back to the start; 0 for none.
        damping: The way back of `implicit` is that of a pull stronger by this; iMAML's code has what 22 is here.
        spread: Standard deviation that the start of each number begins with, where tasks adapt from draws around
            it, moved by one learned step (probabilistic MAML); 0 for one start.
        draws: Of a spread, outside training: as many starts adapt, and their probabilities are averaged.
        adapts: `all`, `head` (ANIL), `no_normalization`, or `context` (CAVIA).
        batch: Support examples that each inner step sees, in turn; 0 for all.
        clip_value: Clip inner gradients elementwise; 0 for no clipping.
        clip_norm: Clip the norm of inner gradients; 0 for no clipping.
    """

    head: Literal[
        "fixed",
        "shared",
        "prototype",
        "cosine",
        "ridge",
        "logistic",
        "svm",
        "matching",
        "siamese",
        "relation",
        "propagation",
        "lstm",
        "mann",
        "snail",
    ] = "fixed"
    strength: float = 0.0
    scale: float = 1.0
    kept: int = 16
    restrict: bool = False
    balanced: bool = False
    rule: Literal["gradient", "momentum", "adam", "meta_lstm", "lstm", "hierarchical"] = "gradient"
    decay: float = 0.9
    rates: Literal["constant", "scalar", "per_tensor", "per_parameter"] = "constant"
    rate: float = 0.01
    least_rate: float = 0.0
    steps: int = 1
    evaluation_steps: int = 0
    vary_steps: bool = False
    backward: Literal["exact", "checkpointed", "first_order", "truncated", "implicit", "neumann"] = "exact"
    backward_steps: int = 5
    proximity: float = 0.0
    damping: float = 0.0
    spread: float = 0.0
    draws: int = 5
    adapts: Literal["all", "head", "no_normalization", "context"] = "all"
    batch: int = 0
    clip_value: float = 0.0
    clip_norm: float = 0.0


@dataclass(frozen=True)
class TrainingTable:
    """The outer loop.

    Attributes:
        updates: Meta-updates.
        meta_batch_size: Tasks in an update.
        meta_rate: Learning rate of the outer optimizer.
        objective: Loss of a task: `cross_entropy` of its queries; `pairs`, each class against not being it (Siamese
            networks); `squared`, the sigmoid's distance to one-hot (Relation networks); or `reptile`, the distance of
            the adapted parameters. Waves have the squared error, or `reptile`.
        fading: Updates over which the loss of every inner step fades to that of the last (MAML++); 0 for that alone.
        first_order_updates: Updates before inner gradients are differentiated (MAML++); 0 for none.
        optimizer: `adam`, or `sgd`.
        momentum: Of sgd, Nesterov's.
        hyper_rate: Of sgd: its rate grows by this times the product of a meta-gradient with the last (Alpha MAML).
        schedule: `constant`, or `cosine` or `linear` down to zero at the last update.
        warmup: Updates over which the rate of a cosine rises from zero.
        weight_decay: On kernels alone, apart from the gradient (AdamW); 0 for plain Adam or SGD.
        clip_norm: Clip the norm of the meta-gradient; 0 for no clipping.
        label_smoothing: Share of the target spread over the task's classes.
        balanced: Each class of a task's queries counts equally in the loss.
        validate_every: Updates between validations.
        validation_tasks: Tasks in a validation.
        minutes: Stop after this time; 0 for no limit.
        seed: Of initial weights, tasks and augmentation.
        deterministic: Ask TensorFlow for deterministic operations.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """

    updates: int = 1000
    meta_batch_size: int = 4
    meta_rate: float = 1e-3
    objective: Literal["cross_entropy", "pairs", "squared", "reptile"] = "cross_entropy"
    fading: int = 0
    first_order_updates: int = 0
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0
    hyper_rate: float = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    balanced: bool = False
    validate_every: int = 250
    validation_tasks: int = 100
    minutes: float = 0.0
    seed: int = 0
    deterministic: bool = False
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
