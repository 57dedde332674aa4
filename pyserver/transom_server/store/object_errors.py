"""What an object store answers, as an `OSError` with one clear line.

Filesystems of `fsspec` raise what they like: botocore's errors, aiohttp's, their own. Here they
become an `ObjectStoreError`, the cause kept. Imports none of those packages.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_KEYS: Final = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/object-storage.md)"

# Code of an S3 answer, or name of a client's error -> errno, what to say.
_SAID: Final[dict[str, tuple[int, str]]] = {
    "NoSuchBucket": (errno.ENXIO, "there is no such bucket; make it, or correct TRANSOM_MODELS"),
    "InvalidBucketName": (errno.EINVAL, "this cannot be the name of a bucket"),
    "AccessDenied": (
        errno.EACCES,
        "access denied; these credentials may not do this in this bucket (docs/object-storage.md "
        "has the list of permissions)",
    ),
    "AllAccessDisabled": (errno.EACCES, "access to this bucket is switched off"),
    "InvalidAccessKeyId": (errno.EACCES, f"the access key is not known there; {_KEYS}"),
    "SignatureDoesNotMatch": (errno.EACCES, f"the secret key is wrong; {_KEYS}"),
    "ExpiredToken": (errno.EACCES, "the session token has expired; log in again"),
    "InvalidToken": (errno.EACCES, f"the session token is refused; {_KEYS}"),
    "RequestTimeTooSkewed": (errno.EACCES, "this machine's clock is wrong; set it"),
    "NoCredentialsError": (errno.EACCES, f"no credentials were found; {_KEYS}"),
    "PartialCredentialsError": (errno.EACCES, f"half of the credentials is missing; {_KEYS}"),
    "PermanentRedirect": (errno.EINVAL, "the bucket is in another region; set AWS_DEFAULT_REGION"),
    "AuthorizationHeaderMalformed": (errno.EINVAL, "wrong region; set AWS_DEFAULT_REGION"),
    "EndpointConnectionError": (
        errno.EHOSTUNREACH,
        "nobody answers there; check the network and AWS_ENDPOINT_URL",
    ),
    "ConnectTimeoutError": (errno.ETIMEDOUT, "nobody answers there in time; try again"),
    "ReadTimeoutError": (errno.ETIMEDOUT, "the server fell silent; try again"),
    "SlowDown": (errno.EBUSY, "the server asks for fewer requests; try again later"),
    "ServiceUnavailable": (errno.EBUSY, "the server is busy; try again later"),
    "503": (errno.EBUSY, "the server is busy; try again later"),
    "403": (errno.EACCES, "access denied; check the credentials, and this machine's clock"),
}
_SAID_BY_CLASS: Final[tuple[tuple[type[OSError], int], ...]] = (
    (FileNotFoundError, errno.ENOENT),
    (PermissionError, errno.EACCES),
    (TimeoutError, errno.ETIMEDOUT),
)


class ObjectStoreError(OSError):
    """The store is elsewhere, and did not do what was asked."""


@contextmanager
def explained() -> Iterator[None]:
    """Let only `OSError` out, with a line for people; a missing key as it is."""
    try:
        yield
    except Exception as error:
        code = _code(error)
        if code in _SAID:
            number, text = _SAID[code]
            raise ObjectStoreError(number, text) from error
        if isinstance(error, FileNotFoundError):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            raise  # about a file of this machine, which it names
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        number = next((kept for kind, kept in _SAID_BY_CLASS if isinstance(error, kind)), number)
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ObjectStoreError(number, detail) from error


def error_code(error: BaseException) -> str:
    """The code of an S3 answer that an error is about; empty for none."""
    for known in (error, error.__cause__):
        answer = getattr(known, "response", None)
        if isinstance(answer, dict):
            code: str = answer.get("Error", {}).get("Code", "")
            return code
    return ""


def _code(error: BaseException) -> str:
    return error_code(error) or next(
        (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _SAID), ""
    )
