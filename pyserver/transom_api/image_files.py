"""Pictures inside a request: base64 text to the bytes of a file that an engine reads. Pure."""

import base64
import binascii
import re
from typing import Final

from transom_api.chat import Image
from transom_api.fields import Fields
from transom_api.image_size import MAX_PIXELS, picture_size

# How the formats begin that llama.cpp reads; it tries to play anything else as sound.
STARTS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,")
_ELSEWHERE: Final = "pictures are not fetched from addresses; send the file's bytes as base64"


def read_base64(fields: Fields, name: str) -> Image:
    """A field that is an image file in base64."""
    return _image(fields, name, fields.required_text(name))


def read_data_url(fields: Fields, name: str) -> Image:
    """A field that is a `data:image/…;base64,` URL."""
    text = fields.required_text(name)
    head = _DATA_URL.match(text)
    if head is None:
        fields.refuse(name, f"{_ELSEWHERE}, in a data: URL")
    return _image(fields, name, text[head.end() :])


def refuse_elsewhere(fields: Fields, name: str) -> None:
    """For a field that says where a picture lies instead of having it."""
    fields.refuse(name, _ELSEWHERE)


def _image(fields: Fields, name: str, text: str) -> Image:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        fields.refuse(name, "is no base64")
    if not data.startswith(STARTS):
        fields.refuse(name, "is no picture that can be read; send PNG, JPEG, GIF or BMP")
    size = picture_size(data)
    if size is None:
        fields.refuse(name, "is a picture that breaks off before it says how large it is")
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        fields.refuse(name, f"is a picture of {width} x {height}, over {MAX_PIXELS} pixels or none")
    return Image(data)
