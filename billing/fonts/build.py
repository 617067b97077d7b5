"""Makes the fonts of invoices: the Korean syllables of KS X 1001 and what European languages need, of
NanumGothic (SIL Open Font License, in OFL.txt).

    python -m billing.fonts.build FOLDER   # with NanumGothic.ttf and NanumGothicBold.ttf

Reserved names are not for changed fonts, so the result has another.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

_HERE = Path(__file__).parent
_NAME = "VoiceReel Invoice"
_STYLES = {"Regular": "NanumGothic.ttf", "Bold": "NanumGothicBold.ttf"}


def _characters() -> set[int]:
    """The 2,350 syllables of KS X 1001, jamo, and Latin letters with their signs."""
    rows = (bytes([high, low]) for high in range(0xB0, 0xC9) for low in range(0xA1, 0xFF))
    syllables = {ord(row.decode("euc_kr")) for row in rows}
    latin = {*range(0x20, 0x7F), *range(0xA0, 0x180)}
    signs = {ord(sign) for sign in "–—‘’“”•…₩€·→×−㈜"}
    return syllables | latin | signs | {*range(0x3131, 0x3164)}


def main() -> None:
    for style, source in _STYLES.items():
        options = subset.Options(name_IDs=["*"], hinting=False, notdef_outline=True)
        font = TTFont(Path(sys.argv[1]) / source)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=_characters())
        subsetter.subset(font)
        names = font["name"]
        for record in list(names.names):
            if record.nameID in (1, 3, 4, 6, 16):
                full = f"{_NAME} {style}"
                text = {1: _NAME, 6: full.replace(" ", ""), 16: _NAME}.get(record.nameID, full)
                names.setName(
                    text, record.nameID, record.platformID, record.platEncID, record.langID
                )
            elif record.nameID not in (0, 2, 5, 13, 14):
                names.removeNames(record.nameID, record.platformID, record.platEncID, record.langID)
        font.save(_HERE / f"invoice-{style.lower()}.ttf")


if __name__ == "__main__":
    main()
