"""The end of JPEG data."""

START = b"\xff\xd8"
END = b"\xff\xd9"
SEQUENTIAL = {0xC0, 0xC1}  # frames with Huffman codes and, usually, a single scan
SCAN = 0xDA
PREFETCH = 8  # bytes that libjpeg reads ahead


def without_end(content: bytes) -> bytes:
    """The content with the end marker of its only scan hidden; unchanged if it has several scans.

    Where data are missing before the marker, libjpeg makes up a grey rest and only warns, which
    Pillow does not pass on. Without the marker, it asks for the missing data instead, and Pillow
    raises. What is decoded of a whole picture does not change.
    """
    position, components = len(START), 0
    while content[position : position + 1] == b"\xff" and position + 9 < len(content):
        marker = content[position + 1]
        if marker in SEQUENTIAL:
            components = content[position + 9]
        elif marker == SCAN:
            is_only_scan = content[position + 4] == components
            end = content.find(END, position)
            return content[:end] + bytes(PREFETCH) if is_only_scan and end > 0 else content
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return content
