"""What the pictures show: a few models, and conversations as a file that the page imports.

Everything that a picture shows of an answer is written here, so that two runs give one picture.
"""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.contract.api.asking import read_models
from tests.fakes.tiny_gguf import TinyTensor, tiny_llama
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import put_native
from transom_models.digest import Digest
from transom_server.store import Store

DAY_MILLISECONDS: Final = 24 * 60 * 60 * 1000
MODEL: Final = "lantern"

_numbers = itertools.count(1)


def turn(role: str, text: str = "", **more: Any) -> dict[str, Any]:
    """One that follows the one before it in `conversation`."""
    return {
        "id": f"turn-{next(_numbers)}",
        "role": role,
        "text": text,
        "reasoning": "",
        "attachments": [],
        "calls": [],
        "result": None,
        "sources": [],
        "state": "done",
        "error": None,
        "figures": None,
        **more,
    }


def answer(text: str, tokens: int, **more: Any) -> dict[str, Any]:
    figures = {
        "model": MODEL,
        "servedBy": "server",
        "why": "",
        "leftOutTurns": 0,
        "promptTokens": 1200,
        "cachedTokens": 900,
        "completionTokens": tokens,
        "timeToFirstTokenSeconds": 0.2,
        "decodeTokensPerSecond": 41.5,
    }
    return turn("assistant", text, figures=figures, **more)


def conversation(
    title: str, days_ago: float, *turns: dict[str, Any], **more: Any
) -> dict[str, Any]:
    then = int(time.time() * 1000 - days_ago * DAY_MILLISECONDS)
    parent = None
    rows = []
    for number, each in enumerate(turns):
        rows.append({"parent": parent, **each, "createdAt": then + number})
        parent = each["id"]
    return {
        "id": f"conversation-{next(_numbers)}",
        "title": title,
        "createdAt": then,
        "updatedAt": then,
        "isPinned": False,
        "model": MODEL,
        "preset": None,
        "system": "",
        "parameters": {},
        "tools": [],
        "overflow": "ask",
        "leaf": parent,
        "turns": rows,
        **more,
    }


def calculation(expression: str, result: str) -> list[dict[str, Any]]:
    """A call of the calculator, and what came of it."""
    call = {
        "id": f"call-{next(_numbers)}",
        "name": "calculator",
        "arguments": json.dumps({"expression": expression}),
    }
    back = {
        "callId": call["id"],
        "name": "calculator",
        "isError": False,
        "text": result,
        "views": [],
    }
    return [answer("", 24, calls=[call]), turn("tool", result=back)]


TIDES: Final = "How long until a savings account doubles?"


def tides() -> dict[str, Any]:
    """A thought, a tool, a formula, code and a table."""
    return conversation(
        TIDES,
        0,
        turn("user", "How long until money at 3.5% a year has doubled? Show me how to check it."),
        *calculation("ln(2) / ln(1.035)", "20.148791684000713"),
        answer(
            "After about **20 years and 2 months**. With an annual rate $r$ the balance grows by "
            "$(1+r)^t$, so it has doubled when\n\n"
            "$$t = \\frac{\\ln 2}{\\ln(1 + r)} = \\frac{0.693}{0.0344} \\approx 20.15$$\n\n"
            "You can check it for any rate:\n\n"
            "```python\n"
            "from math import log\n\n"
            "def years_to_double(rate: float) -> float:\n"
            '    """`rate` is 0.035 for 3.5%."""\n'
            "    return log(2) / log(1 + rate)\n"
            "```\n\n"
            "| Rate | Years | Rule of 72 |\n|---|--:|--:|\n"
            "| 2% | 35.0 | 36.0 |\n| 3.5% | 20.1 | 20.6 |\n| 5% | 14.2 | 14.4 |\n",
            212,
            reasoning="Compound interest: the balance grows by (1 + r) each year. Doubled means "
            "(1 + r)^t = 2, so t = ln 2 / ln(1 + r). I have the number from the calculator.",
        ),
        tools=["calculator"],
    )


BRANCH: Final = "A name for a boat"


def branch() -> dict[str, Any]:
    """A question that was asked in two ways, and answered twice in the second."""
    first = turn("user", "Suggest a name for a small sailing boat.")
    old = answer("*Sea Breeze* is a classic.", 9)
    again = turn("user", "Suggest three names for a small wooden sailing boat, and say why.")
    once = answer("*Kittiwake*, *Juniper* and *Tern*.", 14)
    last = answer(
        "1. **Kittiwake**: a small gull that is at home on open water.\n"
        "2. **Juniper**: light, tough wood, and it sounds friendly over the radio.\n"
        "3. **Half Past**: for a boat that is never in a hurry.\n\n"
        "My favourite is *Half Past*. It is short enough for a stern and makes people smile.",
        74,
    )
    whole = conversation(BRANCH, 0.01, first, old)
    then = whole["createdAt"]
    whole["turns"] += [
        {**again, "parent": None, "createdAt": then + 2},
        {**once, "parent": again["id"], "createdAt": then + 3},
        {**last, "parent": again["id"], "createdAt": then + 4},
    ]
    return {**whole, "leaf": last["id"]}


DOCUMENTS: Final = "What the lease says about repairs"


def documents() -> dict[str, Any]:
    lease = {
        "kind": "document",
        "id": "lease",
        "name": "lease-harbour-street.pdf",
        "mediaType": "application/pdf",
        "bytes": 184_320,
        "sha256": "0" * 64,
        "characters": 21_480,
        "pages": 9,
    }
    passages = (
        (4, "Minor repairs up to 120 euros in a single case are carried by the tenant, together "
            "no more than 6% of the year's rent."),
        (4, "The tenant reports damage without delay. If damage grows because nobody reported it, "
            "the tenant is liable for that part."),
        (7, "Heating and hot water are serviced once a year. The landlord commissions the work and "
            "announces the date two weeks before."),
    )  # fmt: skip
    sources = [
        {"attachment": "lease", "name": lease["name"], "page": page, "text": text, "score": score}
        for (page, text), score in zip(passages, (0.82, 0.74, 0.69), strict=True)
    ]
    return conversation(
        DOCUMENTS,
        1.1,
        turn(
            "user",
            "The tap drips and the boiler needs a service. What do I pay?",
            attachments=[lease],
            sources=sources,
        ),
        answer(
            "**The tap**: a small repair is yours up to **120 euros** a case, and no more than "
            "6% of a year's rent altogether [1]. Report it soon; damage that grows unreported "
            "becomes your part [2].\n\n"
            "**The boiler**: nothing. The landlord has it serviced once a year and tells you the "
            "date two weeks before [3].",
            96,
        ),
    )


GERMAN: Final = "Brot ohne Kneten"


def german() -> dict[str, Any]:
    return conversation(
        GERMAN,
        0,
        turn("user", "Wie backe ich ein einfaches Brot, ohne zu kneten?"),
        answer(
            "Mit **viel Zeit statt Kraft**: Der Teig ruht über Nacht, und der Kleber bildet sich "
            "von selbst.\n\n"
            "1. 400 g Mehl, 8 g Salz und 1 g Trockenhefe mischen, 300 ml Wasser einrühren.\n"
            "2. Zugedeckt **12 bis 18 Stunden** bei Zimmertemperatur stehen lassen.\n"
            "3. Falten, eine Stunde ruhen lassen.\n"
            "4. Im heißen Topf bei 230 °C backen: 30 Minuten mit Deckel, 15 ohne.\n\n"
            "> Klingt der Boden beim Klopfen hohl, ist das Brot fertig.",
            118,
        ),
    )


ARABIC: Final = "مدن على البحر"


def arabic() -> dict[str, Any]:
    return conversation(
        ARABIC,
        0,
        turn("user", "اذكر ثلاث مدن عربية على البحر، ولماذا أزورها؟"),
        answer(
            "هذه **ثلاث مدن** تستحق الزيارة:\n\n"
            "1. **الإسكندرية**: مكتبتها الحديثة وكورنيشها الطويل على المتوسط.\n"
            "2. **مسقط**: جبال تنزل إلى الماء وسوق مطرح القديم.\n"
            "3. **طنجة**: حيث يلتقي بحران، ويُرى البرّ الآخر في يوم صافٍ.\n\n"
            "| المدينة | أفضل وقت |\n|---|---|\n"
            "| الإسكندرية | الربيع |\n| مسقط | الشتاء |\n| طنجة | الصيف |\n",
            121,
        ),
    )


OTHERS: Final = {
    "en": (
        ("Packing list for a week in Lisbon", 0.02, True),
        ("Regular expressions for log lines", 1.3, False),
        ("Explain eigenvectors with a picture", 2.2, False),
        ("Letter to the school", 4.5, False),
        ("Why is the sky blue?", 9.0, False),
        ("Tomatoes on a north-facing balcony", 16.0, False),
    ),
    "de": (
        ("Packliste für eine Woche Lissabon", 0.02, True),
        ("Reguläre Ausdrücke für Protokolle", 1.3, False),
        ("Eigenvektoren anschaulich erklärt", 4.5, False),
        ("Brief an die Schule", 9.0, False),
    ),
    "ar": (
        ("قائمة لرحلة أسبوع إلى لشبونة", 0.02, True),
        ("تعابير نمطية لسجلات الخادم", 1.3, False),
        ("شرح المتجهات الذاتية بالصور", 4.5, False),
        ("رسالة إلى المدرسة", 9.0, False),
    ),
}

PRESET: Final = """FROM lantern
PARAMETER temperature 0.3
PARAMETER num_predict 800
SYSTEM \"\"\"You are a careful editor. Correct spelling and grammar, keep the author's voice, and
list what you changed below the text.\"\"\"
"""


def library(language: str) -> bytes:
    """The file to import."""
    shown = {"en": (tides, branch, documents), "de": (german,), "ar": (arabic,)}[language]
    conversations = [each() for each in shown]
    for title, days_ago, is_pinned in OTHERS[language]:
        said = (turn("user", title), answer("…", 1))
        conversations.append(conversation(title, days_ago, *said, isPinned=is_pinned))
    now = int(time.time() * 1000)
    presets = [
        {"id": f"preset-{name}", "name": name, "modelfile": text, "updatedAt": now}
        for name, text in (
            ("Careful editor", PRESET),
            ("Spanish tutor", 'FROM lantern\nSYSTEM "Answer in simple Spanish."\n'),
        )
    ]
    whole = {
        "format": "transom-conversations",
        "version": 1,
        "exportedAt": "",
        "conversations": conversations,
        "files": [],
        "presets": presets,
    }
    return json.dumps(whole).encode()


def store_models(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Puts the models there; gives their rows by their weights' digests, as `ScriptedLoader` takes
    them."""
    store, rows = Store(folder), {}
    chats: Mapping[str, Any] = {**read_models()["fake/hermes"], "context": 2**15}
    vectors: Mapping[str, Any] = {"task": "embed", "template": None, "context": 2**11}
    kinds: Sequence[tuple[str, int, Mapping[str, Any], Mapping[str, Any]]] = (
        (MODEL, 48, chats, {}),
        ("lantern-small", 12, chats, {}),
        ("looking-glass", 36, {**chats, "image_marker": "<image>"}, {}),
        ("passages", 8, vectors, {"llama.attention.causal": False, "llama.pooling_type": 1}),
    )
    for number, (name, mebibytes, row, metadata) in enumerate(kinds):
        # Weights that nobody reads, so that sizes are no bytes.
        bulk = bytes([number]) * (mebibytes * 2**20)
        gguf = tiny_llama(
            metadata={
                "general.name": name,
                "general.license": "apache-2.0",
                "llama.context_length": row["context"],
                "tokenizer.chat_template": None,
                **metadata,
            },
            extra=[TinyTensor("unused", (len(bulk) // 4,), data=bulk)],
            seed=number,
        ).to_bytes()
        rows[Digest.of(gguf).hex] = row
        projector = tiny_projector().to_bytes() if "image_marker" in row else None
        put_native(store, name, gguf, template=row.get("template"), projector=projector)
    return rows
