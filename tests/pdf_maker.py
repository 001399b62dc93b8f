"""A writer of small PDF files for tests: every piece of text at a given place, so that what a reader must find is known by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

FONTS = {"plain": "Helvetica", "bold": "Helvetica-Bold", "mono": "Courier"}


@dataclass(frozen=True, slots=True)
class Text:
    """Text with its left edge and baseline in points, from the upper left corner."""

    x: float
    y: float
    text: str
    size: float = 10.0
    font: str = "plain"
    angle: tuple[float, float] = (1.0, 0.0)  # cosine and sine
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A straight line between two points, from the upper left corner."""

    x0: float
    y0: float
    x1: float
    y1: float


def make_pdf(
    pages: Sequence[Sequence[Text | Drawn]], *, info: dict[str, str] | None = None, size: tuple[int, int] = (595, 842)
) -> bytes:
    """A PDF with these pages. ``info`` is its document information."""
    width, height = size
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    fonts = []
    for name, base in FONTS.items():
        objects.append(f"<< /Type /Font /Subtype /Type1 /BaseFont /{base} /Encoding /WinAnsiEncoding >>".encode())
        fonts.append(f"/{name} {len(objects)} 0 R")
    kids = []
    for page in pages:
        content = b"\n".join(_operator(item, height) for item in page)
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        resources = f"<< /Font << {' '.join(fonts)} >> >>"
        box = f"/MediaBox [0 0 {width} {height}] /Resources {resources} /Contents {len(objects)} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} >>".encode())
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    pairs = " ".join(f"/{key} <{('﻿' + value).encode('utf-16-be').hex()}>" for key, value in (info or {}).items())
    objects.append(f"<< {pairs} >>".encode())
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(objects), start)
    return bytes(out)


def _operator(item: Text | Drawn, height: float) -> bytes:
    if isinstance(item, Drawn):
        return f"0.5 w {item.x0} {height - item.y0} m {item.x1} {height - item.y1} l S".encode()
    cosine, sine = item.angle
    text = item.text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252")
    mode = 3 if item.hidden else 0
    head = f"BT {mode} Tr /{item.font} {item.size} Tf {cosine} {sine} {-sine} {cosine} {item.x} {height - item.y} Tm ("
    return head.encode() + text + b") Tj ET"


def column(
    x: float, y: float, lines: Sequence[str], *, size: float = 10.0, font: str = "plain", leading: float = 12.0
) -> list[Text]:
    """Lines of text below each other."""
    return [Text(x, y + i * leading, line, size, font) for i, line in enumerate(lines)]
