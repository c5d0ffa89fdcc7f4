"""Where regions come from: one small reader a source."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
