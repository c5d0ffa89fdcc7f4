"""Tasks: drawn from regions, frozen in lists, streamed as meta-batches."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
