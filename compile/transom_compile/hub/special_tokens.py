"""Which tokens begin, end and separate texts, and the chat template: what GGUF keeps beside the
vocabulary.

Several files of a folder may say it; the order in which they are asked is llama.cpp's (gguf-py,
`SpecialVocab`), then `generation_config.json` for the ids that end a turn.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from transom_compile.hub.folder import optional_object, read_object, read_text
from transom_compile.hub.vocabulary import UnsupportedTokenizer
from transom_compile.progress import Progress

# The longest published template has 20 KB.
MAX_TEMPLATE_BYTES = 1024 * 1024
TEMPLATE_FILE = "chat_template.jinja"
DEFAULT_TEMPLATE = "default"
# Role in Hugging Face's files -> GGUF's tokenizer.ggml.<name>_token_id (sic: seperator).
ROLES: Mapping[str, str] = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "sep": "seperator",
    "pad": "padding",
    "cls": "cls",
    "mask": "mask",
}


class SpecialTokens:
    """Reads the small files of a folder. `ids`: token text -> id of the whole vocabulary."""

    def __init__(
        self, folder: Path, document: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        self._folder = folder
        self._document = document
        self._config = config
        self._tokenizer = optional_object(folder / "tokenizer_config.json")
        self._map = optional_object(folder / "special_tokens_map.json")
        self._generation = optional_object(folder / "generation_config.json")

    def entries(
        self, ids: Mapping[str, int], adds_bos: bool, adds_eos: bool
    ) -> dict[str, int | bool]:
        """`<name>_token_id` and `add_<name>_token` values. `adds_*`: if the folder does not say."""
        texts = self._texts()
        flags = {"bos": adds_bos and self._class_adds_bos(), "eos": adds_eos}
        ending = self._from_post_processor(texts, flags)
        for role in ("bos", "eos"):
            said = self._tokenizer.get(f"add_{role}_token")
            if isinstance(said, bool):
                flags[role] = said
        found = {role: ids[text] for role, text in texts.items() if text in ids}
        for role in ROLES:
            number = self._config.get(f"{role}_token_id")
            if role not in found and _is_id(number, len(ids)):
                found[role] = number
        if ending is not None and ending in ids:
            found.setdefault("eot", ids[ending])
        self._more_ends(found, ids)
        named = {f"{ROLES.get(role, role)}_token_id": number for role, number in found.items()}
        for role in ("bos", "eos"):
            if flags[role] and role not in found:
                raise UnsupportedTokenizer(
                    f"{self._folder}: texts get a {role} token, but no file says which that is"
                )
        return {**named, **{f"add_{role}_token": flag for role, flag in flags.items()}}

    def _class_adds_bos(self) -> bool:
        """A tokenizer.json without a post-processor adds nothing, unless its class does."""
        named = str(self._tokenizer.get("tokenizer_class", ""))
        return not self._document or named.startswith(("Llama", "Gemma", "Bert"))

    def _texts(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        for source in (self._tokenizer, self._map):
            for role in ROLES:
                value = source.get(f"{role}_token")
                if isinstance(value, dict):
                    value = value.get("content")
                if isinstance(value, str):
                    texts.setdefault(role, value)
        for role, stand_in in (("bos", "cls"), ("eos", "sep")):
            if role not in texts and stand_in in texts:
                texts[role] = texts[stand_in]
        return texts

    def _from_post_processor(self, texts: dict[str, str], flags: dict[str, bool]) -> str | None:
        """What encoding puts around a text. Gives the former eos if another token ends a text."""
        former = None
        for step in self._processors():
            match step.get("type"):
                case "RobertaProcessing" | "BertProcessing":
                    flags["bos"] = flags["eos"] = True
                case "TemplateProcessing":
                    single = [part for part in _list(step.get("single")) if isinstance(part, dict)]
                    first, last = _special(single[:1]), _special(single[1:][-1:])
                    if first is not None:
                        texts.setdefault("bos", first)
                        flags["bos"] = first in {texts["bos"], texts.get("cls")}
                    elif single:
                        flags["bos"] = False
                    if last is not None:
                        if texts.get("eos") not in {None, last}:
                            former = texts["eos"]
                        texts["eos"] = last
                    if single:
                        flags["eos"] = last is not None
        return former

    def _processors(self) -> Iterator[Mapping[str, Any]]:
        processor = self._document.get("post_processor")
        if isinstance(processor, dict):
            steps = processor.get("processors", [processor])
            yield from (step for step in _list(steps) if isinstance(step, dict))

    def _more_ends(self, found: dict[str, int], ids: Mapping[str, int]) -> None:
        """Generation may end at several tokens: those beyond eos end a turn (eot) or a message that
        calls a tool (eom)."""
        ends = self._generation.get("eos_token_id", self._config.get("eos_token_id"))
        numbers = [n for n in (ends if isinstance(ends, list) else [ends]) if _is_id(n, len(ids))]
        if numbers and "eos" not in found:
            found["eos"] = numbers[0]
        texts = {number: text for text, number in ids.items()} if len(numbers) > 1 else {}
        for number in numbers:
            if number in found.values():
                continue
            found.setdefault("eom" if "eom" in texts.get(number, "") else "eot", number)

    def template_entries(self, progress: Progress) -> dict[str, str | list[str]]:
        """`tokenizer.chat_template` and, where there are several, the named ones beside it."""
        templates = self._templates(progress)
        entries: dict[str, str | list[str]] = {}
        named = sorted(name for name in templates if name != DEFAULT_TEMPLATE)
        if named:
            entries["tokenizer.chat_templates"] = list(named)
        for name in named:
            entries[f"tokenizer.chat_template.{name}"] = templates[name]
        if DEFAULT_TEMPLATE in templates:
            entries["tokenizer.chat_template"] = templates[DEFAULT_TEMPLATE]
        return entries

    def _templates(self, progress: Progress) -> dict[str, str]:
        inside = self._tokenizer.get("chat_template")
        if inside is None and (self._folder / "chat_template.json").is_file():
            inside = read_object(self._folder / "chat_template.json").get("chat_template")
        templates: dict[str, str] = {}
        if isinstance(inside, str):
            templates[DEFAULT_TEMPLATE] = inside
        elif isinstance(inside, list):
            for item in inside:
                match item:
                    case {"name": str(name), "template": str(text)} if name.isidentifier():
                        templates[name] = text
                    case _:
                        raise UnsupportedTokenizer(
                            f"{self._folder}/tokenizer_config.json: a chat template has no name"
                        )
        path = self._folder / TEMPLATE_FILE
        if path.is_file():
            text = read_text(path, MAX_TEMPLATE_BYTES)
            if templates.get(DEFAULT_TEMPLATE, text) != text:
                progress.note(f"{TEMPLATE_FILE} differs from tokenizer_config.json and is taken")
            templates[DEFAULT_TEMPLATE] = text
            for more in sorted((self._folder / "additional_chat_templates").glob("*.jinja")):
                templates[more.stem] = read_text(more, MAX_TEMPLATE_BYTES)
        return templates


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _special(parts: list[dict[str, Any]]) -> str | None:
    match parts:
        case [{"SpecialToken": {"id": str(text)}}]:
            return text
    return None


def _is_id(number: object, count: int) -> TypeGuard[int]:
    return type(number) is int and 0 <= number < count
