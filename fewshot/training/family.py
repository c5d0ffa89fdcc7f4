"""The learners that have names, each a choice of parts; `python -m fewshot.training.family` prints their page.

The parts of each are read from the recipe that has it, so that the page cannot say anything else than the program does.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    Member("ANIL", "Raghu et al. 2020", "as MAML, the output layer alone", "anil"),
    Member("iMAML", "Rajeswaran et al. 2019", "(H + pull) u = pull v", "imaml"),
    Member("Reptile", "Nichol et al. 2018", "start - adapted", "reptile"),
    Member("Prototypical network", "Snell et al. 2017", "-|f - c|^2", "protonet"),
    Member("Proto-MAML", "Triantafillou et al. 2020", "kernel 2c, bias -|c|^2, then steps", "proto-maml"),
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
    Member("LSTM optimiser", "Andrychowicz et al. 2016", "p + m(grad L(p)), m learned", "lstm"),
)
LEFT_OUT = {
    "Hierarchical LSTM optimiser": "published on toy tasks only",
    "AlphaMAML's rate of the outer loop": 'its inner rate is `rates = "scalar"`; curves alone were published',
    "Steps' own affine terms of MAML++": "its per-step statistics never reach a prediction in the authors' code",
    "LEO, TADAM, Auto-Meta, architecture search, reinforcement learning, distillation": "no use for maps on two cores",
}


def parts(recipe: Recipe) -> tuple[str, ...]:
    """Return head, rule, what adapts, way back and objective, as a recipe writes them."""
    learner, training = recipe.learner, recipe.training
    if not learner.steps:
        return learner.head, "none", "nothing", "exact", training.objective
    rates = "" if learner.rates == "constant" else f", {learner.rates} rates"
    adapts = f"{learner.adapts} ({recipe.network.context_kind})" if recipe.network.context else learner.adapts
    objective = f"{training.objective}, fading" if training.fading else training.objective
    return learner.head, f"{learner.rule}{rates}", adapts, learner.backward, objective


def page() -> str:
    """Return the page of the learners, in Markdown."""
    lines = [
        "# Learners",
        "",
        "A learner is a choice of parts: head x rule x what adapts x way back x objective. Each is a key of a recipe's",
        "`[learner]` and `[training]` tables; a choice that would mean nothing is refused with the reason. These are",
        "the choices that have names. `python -m fewshot.training.family` prints this page from the recipes.",
        "",
        "| learner | paper | equation | head | rule | adapts | backward | objective | `fewshot train` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for member in FAMILY:
        chosen = parts(read_recipe(member.recipe, learner=member.learner))
        equation = f"`{member.equation}`".replace("|", "\\|")
        command = f"`{member.recipe} --learner {member.learner}`"
        lines.append(f"| {' | '.join((member.title, member.paper, equation, *chosen, command))} |")
    lines += ["", "## Left out", "", *(f"- **{name}**: {why}." for name, why in LEFT_OUT.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
