"""Serving: what an exported model says of itself, how it is exported, and how it answers requests."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
