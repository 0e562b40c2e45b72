"""The GPTQ and AWQ file formats (of AutoGPTQ and AutoAWQ), read and written without the packages
that defined them.
"""

from comptrust.models.formats.layout import DEFAULT, LAYOUTS
from comptrust.models.formats.read import dense, kind
from comptrust.models.formats.write import check, rewrite

__all__ = ["DEFAULT", "LAYOUTS", "check", "dense", "kind", "rewrite"]
