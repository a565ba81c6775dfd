"""The marker structure of a JPEG file (ITU-T T.81, annex B)."""

import re

START, END, SCAN = 0xD8, 0xD9, 0xDA
JFIF = 0xE0
# Frame headers of what every reader decodes (baseline, extended, progressive), Huffman and quantisation tables, restart
# interval.
PICTURE = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD}
SCANS = 64  # Encoders make about ten. Each may take as long as the whole picture, though it is only a few bytes.
# Inside entropy-coded data 0xFF is followed by 0x00 (stuffed) or a restart marker; anything else ends the scan.
SCAN_END = re.compile(rb"\xff(?![\x00\xd0-\xd7\xff])")


def is_plain(content: bytes) -> bool:
    """Whether the file holds a picture and nothing else: no EXIF, profile, comment, thumbnail or trailing bytes.

    A picture that few can read (arithmetic, lossless), or that is made to take long, is not plain either.
    """
    if content[:2] != bytes((0xFF, START)):
        return False
    at, scans = 2, 0
    while scans <= SCANS:
        marker, end = _segment(content, at)
        if marker == END:
            return at + 2 == len(content)
        scans += marker == SCAN
        if not (marker in PICTURE or marker == SCAN or _is_bare_jfif(content, marker, at, end)):
            return False
        at = _after_scan(content, end) if marker == SCAN else end
    return False


def _segment(content: bytes, at: int) -> tuple[int, int]:
    """The marker at `at` (0 where there is none) and the offset behind its segment."""
    header = content[at : at + 4]
    if len(header) < 2 or header[0] != 0xFF:
        return 0, at
    if header[1] == END:
        return END, at + 2
    if len(header) < 4:
        return 0, at
    return header[1], at + 2 + int.from_bytes(header[2:4], "big")


def _is_bare_jfif(content: bytes, marker: int, at: int, end: int) -> bool:
    return marker == JFIF and end - at == 18 and content[at + 4 : at + 9] == b"JFIF\x00"


def _after_scan(content: bytes, at: int) -> int:
    found = SCAN_END.search(content, at)
    return found.start() if found else len(content)
