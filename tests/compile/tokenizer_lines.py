"""10,000 lines that tokenizers disagree about: scripts, emoji, code, control characters, noise."""

# ruff: noqa: RUF001 (look-alike characters are what is tested)

import random
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

# Characters of published models' training text; those of Unicode 15 and later are left out, since
# llama.cpp, Rust and each browser carry a table of their own age.
SCRIPTS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZàâçéèêëîïôûùüÿñæœßøåłžščİıŞğﬁſ",
    "cyrillic": "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯіїєґњћ",
    "greek": "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةىپچژگ\u064e\u064f\u0650\u0651\u0652٠١٢٣٤٥٦٧٨٩،؛؟",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשתםןףץך\u05b0\u05b4\u05b8",
    "devanagari": "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसहािीुूेैोौंः़्०१२३४५६७८९।क़",
    "thai": "กขคงจชซญดตถทนบปผพฟมยรลวสหอะาิีึืุูเแโใไ่้๊๋์",
    "han": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去",
    "kana": "あいうえおかがきぎくぐけげこごさざしじすせそたちつてとアイウエオカガキギクケコーッ",
    "hangul": "가나다라마바사아자차카타파하한국어말을이는에의로고도입니다각힣쀍ᄀ\u1161\u11a8",
}
EMOJI = [
    "😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🧑🏿‍🚀", "❤️", "☎︎", "🇩🇪", "1️⃣", "🪟", "👨‍💻", "🙂",
]  # fmt: skip
CODE = [
    "def f(x):\n    return x**2  # ok\n", "for (int i = 0; i < n; ++i) {", "a&&b||!c", "x->y",
    '{"a": [1, 2.5e-3], "b": null}', "http://e.x/?q=1&r=2#z", "SELECT * FROM t WHERE a='b';",
    "\tif x == 0x1F:\n\t\tpass\n", "C:\\Users\\n", "foo_bar.bazQux()", "#include <stdio.h>\r\n",
    "<0x0A>", "<0xE2>", "```python\n", "$HOME/.bin", "a=~b^c", "<td>", "</div>", "<!-- -->", "[1]",
    "[PAD]", "##ing",
]  # fmt: skip
NUMBERS = [
    "0",
    "7",
    "42",
    "123",
    "1234567",
    "3.14",
    "1,000",
    "²",
    "½",
    "Ⅷ",
    "٣٤٥",
    "१२",
    "①",
    "10⁵",
]
CONTRACTIONS = ["don't", "I'll", "WE'RE", "it'S", "'twas", "y'all", "’s", "'ſ", "can'T", "'"]
SPACES = [
    " ", "  ", "   ", " " * 9, "\n", "\n\n", "\r\n", "\t", "\t\t", " \n ", "\v", "\f", "\u0085",
    "\u00a0", "\u2003", "\u2028", "\u202f", "\u3000", "\u200b", "\ufeff",
]  # fmt: skip
CONTROL = [chr(code) for code in (*range(1, 32), 127, 0x80, 0x9F, 0xAD, 0x200D, 0x200E, 0x2060)]
MARKS = ["\u0301", "\u0308", "\u0327", "\u20dd", "\u093e", "\u0e34", "\ufe0f"]
PUNCTUATION = [
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»—–…、。「」“”‹›€£¥§©®™°±×÷∞≈→★▁", "...", "!!!", "--",
]  # fmt: skip


@cache
def _any_characters() -> list[str]:
    """What Unicode 14 (Python 3.11's) has in the blocks that people write with, and emoji."""
    codes = (*range(0xA1, 0x2E00), *range(0x1F300, 0x1F600))
    return [chr(code) for code in codes if unicodedata.category(chr(code)) != "Cn"]


def tricky_lines(count: int, added: Sequence[str], seed: int = 0) -> list[str]:
    """`count` lines; `added` are strings of the vocabulary that are found before text is cut."""
    draw = random.Random(seed)

    def word() -> str:
        letters = SCRIPTS[draw.choice(list(SCRIPTS))]
        return "".join(draw.choices(letters, k=draw.randint(1, 9)))

    def noise() -> str:
        return draw.randbytes(draw.randint(1, 12)).decode("utf-8", "replace")

    def mixed_script() -> str:
        return "".join(draw.choice(draw.choice(list(SCRIPTS.values()))) for _ in range(5))

    def near_added() -> str:
        text = draw.choice(added) if added else ""
        return text[: draw.randint(1, len(text))] if text else ""

    makers: list[tuple[int, Callable[[], str]]] = [
        (30, word),
        (14, lambda: draw.choice(SPACES)),
        (10, lambda: draw.choice(PUNCTUATION)),
        (6, lambda: draw.choice(NUMBERS)),
        (5, lambda: draw.choice(EMOJI)),
        (5, lambda: draw.choice(CODE)),
        (4, lambda: draw.choice(CONTRACTIONS)),
        (3, lambda: draw.choice(CONTROL)),
        (3, lambda: draw.choice(MARKS)),
        (3, noise),
        (3, mixed_script),
        (2, lambda: draw.choice("abcxyz ▁.") * draw.randint(2, 40)),
        (2, lambda: draw.choice(_any_characters())),
    ]  # fmt: skip
    if added:
        makers += [(5, lambda: draw.choice(added)), (2, near_added)]
    weights = [weight for weight, _ in makers]
    functions = [function for _, function in makers]

    def line() -> str:
        pieces = [make() for make in draw.choices(functions, weights, k=draw.randint(1, 14))]
        return draw.choice(("", " ", " ", "-")).join(pieces)

    return [line() for _ in range(count)]
