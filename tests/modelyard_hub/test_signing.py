"""Keys on disk, and tokens that serve one purpose only."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelyard_api.endpoints import Identity
from modelyard_api.errors import ModelyardError, TokenExpired, Unauthenticated
from modelyard_hub.signing import Signer, load_or_make

ADA = Identity(username="ada", owner="ada")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "signing.pem"
    first = load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make(path).public_pem == first.public_pem
    assert [p.name for p in path.parent.iterdir()] == ["signing.pem"]
    path.write_text("nonsense")
    with pytest.raises(ModelyardError, match="cannot be read"):
        load_or_make(path)


def test_what_is_sealed_is_for_one_purpose_and_a_time() -> None:
    now = 1000.0
    signer = Signer(Ed25519PrivateKey.generate(), lambda: now)
    sealed = signer.seal("cookie", 60, {"a": 1})
    assert signer.unseal("cookie", sealed)["a"] == 1
    for wrong in (sealed[:-4] + "AAAA", "", signer.mlflow_token(ADA), signer.call_token(ADA, 60).token):
        with pytest.raises(Unauthenticated):
            signer.unseal("cookie", wrong)
    with pytest.raises(Unauthenticated):
        Signer(Ed25519PrivateKey.generate(), lambda: now).unseal("cookie", sealed)
    now = 1060.0
    with pytest.raises(TokenExpired):
        signer.unseal("cookie", sealed)
