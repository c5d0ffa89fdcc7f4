"""Searching a recipe's own numbers: what is varied, how values are proposed, and the job that tries them."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
