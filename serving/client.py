"""The client of served models, under the name that programs import it by; it lives in `fewshot.exported.client`."""

from fewshot.exported.client import FewshotClient

__all__ = ["FewshotClient"]
