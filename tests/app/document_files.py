"""Documents and photographs as people have them, made here, with the text that tests look for."""

import io
import zipfile
from collections.abc import Sequence

_OFFICE = "http://schemas.openxmlformats.org"


_HELVETICA = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
# Without a file of its own: what its codes mean says a predefined CMap (ISO 32000-1, 9.7.5.2).
SHIFT_JIS = (
    "<< /Type /Font /Subtype /Type0 /BaseFont /Any /Encoding /90ms-RKSJ-H /DescendantFonts ["
    "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Any "
    "/CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 2 >> "
    "/FontDescriptor << /Type /FontDescriptor /FontName /Any /Flags 4 "
    "/FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 900 /Descent -200 /CapHeight 800 "
    "/StemV 80 >> >>] >>"
)


def pdf(pages: Sequence[Sequence[str]], font: str = _HELVETICA) -> bytes:
    """Lines of each page, one byte a character (ISO 32000-1, Annex H.2)."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        font,
    ]
    for number, lines in enumerate(pages):
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {5 + 2 * number} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    made, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(made))
        made += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    return f"{made}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def docx(paragraphs: Sequence[str]) -> bytes:
    """A Word document of these paragraphs, which are XML."""
    body = "".join(f"<w:p><w:r><w:t>{each}</w:t></w:r></w:p>" for each in paragraphs)
    types = f'<Types xmlns="{_OFFICE}/package/2006/content-types"/>'
    relation = (
        f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/>'
    )
    rows = f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">{relation}</Relationships>'
    word = f"{_OFFICE}/wordprocessingml/2006/main"
    text = f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", types)
        packed.writestr("_rels/.rels", rows)
        packed.writestr("word/document.xml", text)
    return file.getvalue()


def with_metadata(jpeg: bytes, orientation: int, secret: bytes) -> bytes:
    """The photograph with what a camera says about it (EXIF 2.3): how it was held, and a secret."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation, 0, 0])
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4) + secret
    segment = b"Exif\x00\x00" + tiff
    length = (len(segment) + 2).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xe1" + length + segment + jpeg[2:]
