"""The learners that have names, each a choice of parts; this module, run, prints their page.

    python -m fewshot.training.family docs/learners.json > docs/learners.md

The parts of each are read from the recipe that has it, so that the page cannot say anything else than the program does.
Costs are those that `benchmarks/learners.py` measured and wrote to the file that is named.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.training.recipe import Recipe, read_recipe

OMNIGLOT = "papers/omniglot-5w1s"


@dataclass(frozen=True)
class Member:
    """A learner of the literature.

    Attributes:
        title: As people call it.
        paper: Where it is from.
        equation: What it does, in one line.
        learner: Its name in the recipe.
        recipe: That has it.
    """

    title: str
    paper: str
    equation: str
    learner: str
    recipe: str = OMNIGLOT


FAMILY = (
    Member("MAML", "Finn et al. 2017", "p - rate grad L(p), differentiated", "maml"),
    Member("FOMAML", "Finn et al. 2017", "as MAML, grad L a constant", "fomaml"),
    Member("Meta-SGD", "Li et al. 2017", "p - rates * grad L(p), the rates learned", "meta-sgd"),
    Member("MAML++", "Antoniou et al. 2019", "sum of w_k L(queries after step k)", "maml++"),
    Member("Alpha MAML", "Behl et al. 2019", "b + h <G, last G>; the inner rate learned too", "alpha-maml"),
    Member(
        "Probabilistic MAML",
        "Finn et al. 2018",
        "p + s noise, a few times; s learned",
        "probabilistic-maml",
    ),
    Member("ANIL", "Raghu et al. 2020", "as MAML, the output layer alone", "anil"),
    Member("iMAML", "Rajeswaran et al. 2019", "(H + pull) u = pull v", "imaml"),
    Member("Reptile", "Nichol et al. 2018", "start - adapted", "reptile"),
    Member("Prototypical network", "Snell et al. 2017", "-|f - c|^2", "protonet"),
    Member("Proto-MAML", "Triantafillou et al. 2020", "kernel 2c, bias -|c|^2, then steps", "proto-maml"),
    Member("Cosine head", "Gidaris and Komodakis 2018", "s cos(f, w * mean of f/|f|)", "cosine"),
    Member("Matching network", "Vinyals et al. 2016", "softmax of s cos(f, x), summed by class", "matching"),
    Member("Siamese network", "Koch et al. 2015", "sigmoid(w |f - x| + b)", "siamese"),
    Member("Relation network", "Sung et al. 2018", "g(f, c), g learned", "relation"),
    Member("TPN", "Liu et al. 2019", "(I - alpha S)^-1 Y; transductive", "tpn"),
    Member("LSTM", "Hochreiter et al. 2001", "an LSTM on (x1, y1), ..., (xn, yn), (query, 0)", "lstm-sequence"),
    Member("MANN", "Santoro et al. 2016", "the same, with a memory that is found by content", "mann"),
    Member("SNAIL", "Mishra et al. 2018", "the same, by causal convolutions and attention", "snail"),
    Member("R2-D2", "Bertinetto et al. 2019", "X'(X X' + lambda I)^-1 Y", "r2d2"),
    Member(
        "Logistic regression",
        "Bertinetto et al. 2019, for many classes at once",
        "lambda A = Y - softmax(X X'A)",
        "logistic",
    ),
    Member("MetaOptNet", "Lee et al. 2019", "the dual of Crammer and Singer's machine", "metaoptnet"),
    Member("CAVIA", "Zintgraf et al. 2019", "c - rate grad L(c), from c = 0", "cavia"),
    Member(
        "Bias transformation", "Finn et al. 2017, one-shot imitation", "W [x; z] + b, z learned", "bias-transformation"
    ),
    Member("Meta-LSTM", "Ravi and Larochelle 2017", "forget p - input grad L(p), gates learned", "meta-lstm"),
    Member(
        "Hierarchical optimiser",
        "Wichrowska et al. 2017",
        "p - exp(r) d, r and d learned on three levels",
        "hierarchical-lstm",
    ),
    Member("LSTM optimiser", "Andrychowicz et al. 2016", "p + m(grad L(p)), m learned", "lstm"),
)
LEFT_OUT = {
    "Steps' own affine terms of MAML++": "its per-step statistics never reach a prediction in the authors' code",
    "LEO, TADAM, Auto-Meta, architecture search, reinforcement learning, distillation": "no use for maps on two cores",
}
CHOICES = """
## Which to choose for what

As far as [results](results.md) show it, and no further:

- **Classes that mean the same everywhere**: a fixed head with learned rates (Meta-SGD); 66.3 % of the SEN12MS tasks,
  2.7 ± 2.3 points more than a prototypical network.
- **Classes of the labels' own, any number of them**: prototypes. Inner steps on them (Proto-MAML) added nothing on the
  SEN12MS tasks, and 3.4 ± 1.7 points to a prototypical network on simulated regions.
- **Ten examples a class and more**: heads that remember or fit every one; a matching network has 76.9 and 77.6 % of
  the SEN12MS tasks of ten and twenty shots, prototypes 74.2 and 74.8 %, a fixed head trained for two 72.5 and 71.6 %.
- **More steps than were trained**: a fixed head, which gained by 30 steps; prototypes with learned rates lost 13 points
  by them.
- **Few updates**: heads that read the support. After 1,500 updates of Omniglot's minimal challenge at 28 pixels,
  without views, MAML was wrong at 42.1 % of the queries, Meta-SGD at 34.2 %, a prototypical network at 20.9 %. On
  Omniglot's background set prototypes, a matching network and R2-D2 are right for 97.7 to 98.1 % (one shot) after some
  thousand tasks, Meta-SGD and MAML for 98.2 % after 160,000.
- **Pixels**: from one labelled window a U-Net with learned rates, 26.4 % mean IoU on the simulated Earth where the
  nearest labelled pixel has 21.3 %; from five windows the nearest pixel is ahead of every network, 42.1 %
  against 39.2 % of logistic regression on learned features and 36.6 % of learned rates.
- **Draws of the start** (probabilistic MAML) cost as many adaptations, and made confidence no more honest than MAML's
  where it was measured, after one short training.
- **Numbers instead of classes**: learned rates; Meta-SGD is ahead of MAML in every row of the sine waves.
- **Sequences** (LSTM, MANN, SNAIL) have the classes among their inputs: they answer for as many as in training, keep as
  many examples of each, and are refused for tasks of pixels. Of three short trainings SNAIL has 89.5 % of the
  background set's 5-way 1-shot tasks, MANN 75.2, and an LSTM learnt nothing; other heads that read or solve have
  95 to 98, a relation network 79.9.
"""


def parts(recipe: Recipe) -> tuple[str, ...]:
    """Return head, rule, what adapts, way back and objective, as a recipe writes them."""
    learner, training = recipe.learner, recipe.training
    if not learner.steps:
        return learner.head, "none", "nothing", "exact", training.objective
    rates = "" if learner.rates == "constant" else f", {learner.rates} rates"
    adapts = f"{learner.adapts} ({recipe.network.context_kind})" if recipe.network.context else learner.adapts
    objective = f"{training.objective}, fading" if training.fading else training.objective
    spread = f", {learner.draws} starts" if learner.spread else ""
    return learner.head, f"{learner.rule}{rates}{spread}", adapts, learner.backward, objective


WHOLE = 10
"""Multiples from here on are written without a decimal."""


def written_cost(ratios: Sequence[float]) -> str:
    """Write the multiples of MAML's update that one took: their median, and their range."""
    if not ratios:
        return "not measured"
    found = (statistics.median(ratios), min(ratios), max(ratios))
    median, least, most = (f"{x:.0f}" if x >= WHOLE else f"{x:.1f}" for x in found)
    return f"{median} ({least}-{most})"


def written_figure(by_shots: Mapping[str, Mapping[str, float]]) -> str:
    """Write the accuracies that `fewshot evaluate --json` found with each number of shots, in percent."""
    return " / ".join(f"{100 * by_shots[shots]['mean']:.1f}" for shots in sorted(by_shots, key=int)) or "not measured"


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of the learners, in Markdown.

    Args:
        measured: What `benchmarks/learners.py` wrote: `costs` and `figures`, by learner, and the `machine`.
    """
    costs, figures = measured.get("costs", {}), measured.get("figures", {})
    lines = [
        "# Learners",
        "",
        "A learner is a choice of parts: head x rule x what adapts x way back x objective. Each is a key of a recipe's",
        "`[learner]` and `[training]` tables; a choice that would mean nothing is refused with the reason. These are",
        "the choices that have names. `python -m fewshot.training.family docs/learners.json` prints this page from",
        "their recipes, and from the costs that `python benchmarks/learners.py --json docs/learners.json` measured:",
        "the time of an update relative to MAML's on the same 5-way 1-shot tasks, each with the network and steps of",
        "its recipe, median (range) of rounds in turn with MAML's. Measured on:",
        f"{measured.get('machine', 'no machine yet')}. The accuracies are those of 5-way tasks of one and five shots,",
        "after a short training on Omniglot's background set ([results](results.md) say which, and what papers have).",
        "",
        "| learner | paper | equation | head | rule | adapts | backward | objective | cost | % | `fewshot train` |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for member in FAMILY:
        chosen = parts(read_recipe(member.recipe, learner=member.learner))
        equation = f"`{member.equation}`".replace("|", "\\|")
        command = f"`{member.recipe} --learner {member.learner}`"
        found = written_cost(costs.get(member.learner, ())), written_figure(figures.get(member.learner, {}))
        lines.append(f"| {' | '.join((member.title, member.paper, equation, *chosen, *found, command))} |")
    lines += [CHOICES, "## Left out", "", *(f"- **{name}**: {why}." for name, why in LEFT_OUT.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
