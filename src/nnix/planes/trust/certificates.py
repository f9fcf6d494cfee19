"""Certificates that anybody may have made: read, or Malformed, and whether who is named as the issuer has issued one.

An issuer is named by a hash of its key (RFC 6487, 4.8.2 and 4.8.3), and where its certificate lies stands beside that (4.8.7). So no chain is needed to see that somebody else has
signed: what lies there has that key or not.

Deliberately not here: whether a certificate is valid (RFC 6487, 7). That is the validators' affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID

from nnix.planes.trust.objects import Malformed

UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""what the library raises for octets that are none, or nothing that it knows"""

Look = Callable[[str], Iterable[bytes]]
"""path in the mirror → what lies there, and what did before"""


def read(content: bytes) -> x509.Certificate:
    """A certificate, in DER, with a key of a kind that is known. Raises Malformed."""
    try:
        found = x509.load_der_x509_certificate(content)
        found.public_key()
    except UNREADABLE as error:
        raise Malformed(f"no certificate: {str(error)[:120]}") from None
    return found


def issued(certificate: x509.Certificate, at: Look) -> bool:
    """Whether the key that `certificate` names as its issuer's has signed it. Never raises."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        places = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False
    for place in places:
        if place.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            place.access_location, x509.UniformResourceIdentifier
        ):
            for each in at(place.access_location.value.removeprefix("rsync://")):
                with suppress(*UNREADABLE, InvalidSignature):
                    issuer = read(each)
                    if x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest == named:
                        certificate.verify_directly_issued_by(issuer)
                        return True
    return False
