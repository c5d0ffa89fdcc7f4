"""From a recipe to a trained run, and from a run to figures."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
