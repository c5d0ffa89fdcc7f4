"""How good a finished map is: places to look at, and what they tell of accuracies and areas."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
