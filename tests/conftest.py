"""No test fails because the machine is busy: what is drawn at random may take as long as it takes (pytest's own limit ends what hangs)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("nnix", deadline=None)
settings.load_profile("nnix")
