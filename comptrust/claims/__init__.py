"""Claims: what the gate found, in forms that other tools read.

`claims.jsonl` holds in-toto statements in DSSE envelopes, one a line; `model.sig` is a signature of
the model's files as model_signing (OpenSSF) reads it. docs/evidence.md shows both.
"""

from comptrust.claims.folder import check as check
from comptrust.claims.writing import CLAIMS as CLAIMS
from comptrust.claims.writing import MODEL_SIGNATURE as MODEL_SIGNATURE
from comptrust.claims.writing import write as write
