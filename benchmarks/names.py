"""200 class names that somebody might send to break out of the data folder, or to make two classes one."""

import unicodedata

PATHS = (
    ".", "..", "...", "/", "\\", "//", "~", "~root", "../up", "..\\up", "../../../../etc/passwd", "/etc/passwd",
    "/home", "./here", "a/b", "a\\b", "a/../b", "a/./b", "C:\\Windows\\x", "C:/Windows/x", "C:", "\\\\host\\share",
    "//host/share", "file:///etc/passwd", "a/", "/a", "%2e%2e%2f", "..%2f..%2fup", "..%c0%af", "․․/up", "．．／up",
    "‥/up", "\u2215etc\u2215passwd", "\u2044etc", "\uff0fetc\uff0fpasswd", "\uff3cup", "..;/up", ".git", ".hidden",
    "dot.", "dots...", ". daisy", "daisy .",
)  # fmt: skip
RESERVED = (
    "con", "CON", "Con.jpg", "prn", "PRN.", "aux", "AUX.tar.gz", "nul", "NUL.txt", "ｎｕｌ", "com1", "COM9", "com0",
    "com¹", "lpt1", "LPT9.jpg", "lpt²", "CONIN$", "CONOUT$", "clock$", "con .txt", "aux:", "$MFT", "desktop.ini",
    "Thumbs.db", "con_", "conman",
)  # fmt: skip
CONTROLS = (
    "\x00", "a\x00b", "a\x00/../b", "a\x01b", "a\x07b", "a\x1bb[31m", "a\x7fb", "a\x80b", "a\tb", "a\nb", "a\rb",
    "a\r\nb", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b", "a\u2028b", "a\u2029b", "\n\n/etc/passwd", "a\u00a0b",
    "a\u3000b", "a\u2003b", "\u00a0", "\u2800",
)  # fmt: skip
UNSEEN = (
    "\u202egnp.exe", "daisy\u202e", "a\u202db", "a\u202ab\u202c", "a\u2066b\u2069", "\u200f\u05d0", "a\u200eb",
    "a\u061cb", "a\u200bb", "a\u200cb", "a\u200db", "a\u2060b", "\ufeffdaisy", "daisy\ufe0f", "daisy\u180e",
    "a\u034fb", "a\u00adb", "\u115f", "\u1160", "\u3164", "\uffa0", "a\u17b4b", "a\U000e0100b",
    "\U000e0041\U000e0042", "a\ufff9b\ufffac\ufffb", "\ufffe", "\ufffd", "\ue000", "\U000f0000",
)  # fmt: skip
LONG = (
    "x" * 64, "x" * 65, "x" * 255, "x" * 256, "x" * 1024, "向" * 64, "向" * 67, "\U00020000" * 50, "\U00020000" * 64,
    "\U0001f33c" * 64, "a" + "\u0301" * 40, "a" + "\u0301" * 300, "\u0e01" + "\u0e34" * 60, "\ufdfa", "\ufdfa" * 60,
    "ﬃ" * 30, "é" * 64, "e\u0301" * 64, " ".join("a" * 20), ".".join("a" * 30),
)  # fmt: skip
MARKUP = (
    "<b>bold</b>", "<script>alert(1)</script>", "</code>", "<a href='x'>y</a>", "&amp;", "&lt;b&gt;", "&", "a&b",
    "*bold*", "_it_", "`code`", "[x](y)", "{name}", "%s%n", "$(reboot)", "`id`", "a;b", "a|b", "a>b", "a*b?", 'a"b',
    "'; DROP TABLE", "--help", "-rf", "@daisy",
)  # fmt: skip
# Names that some rule or other takes for one another: case, width, ligatures, scripts that look alike.
ALIKE = (
    "Straße", "STRASSE", "straẞe", "ﬁsh", "fish", "FISH", "I", "ı", "İ", "i", "K", "\u212a", "Å", "\u212b", "σας",
    "ΣΑΣ", "Сосна", "Cocнa", "café", "cafe\u0301", "CAFÉ", "ｃａｆｅ", "①", "½", "x²", "ǆ", "Ǆ", "ſet", "ﬆop", "ᾳ",
    "한글", unicodedata.normalize("NFD", "한글"),
)  # fmt: skip
NAMES = (*PATHS, *RESERVED, *CONTROLS, *UNSEEN, *LONG, *MARKUP, *ALIKE)
