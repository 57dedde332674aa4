"""Go templates of Ollama's, translated to Jinja: the same prompt for the same conversation.

The Jinja takes what Hugging Face's templates take (`messages`, `tools`, `bos_token`,
`add_generation_prompt`, `enable_thinking`, `reasoning_effort`), and `suffix` where the template
has one; `add_bos_token` says that the tokenizer would put BOS in front. Pure.
"""

from typing import Final

from transom_models.modelfile.go_template.errors import UntranslatableTemplate

# Ollama's longest are about 16 KiB; the page takes no Jinja of more than 256 KiB.
MAX_TEMPLATE_CHARS: Final = 64 * 1024


def translate(source: str, first_line: int = 1) -> str:
    """Jinja of a Go template. Raises `UntranslatableTemplate`, whose lines count from
    `first_line`."""
    if len(source) > MAX_TEMPLATE_CHARS:
        raise UntranslatableTemplate(
            first_line,
            "TEMPLATE",
            f"{len(source)} characters, over the cap of {MAX_TEMPLATE_CHARS}",
        )
    # Few models have one, and the page's Python would start a tenth of a second later.
    from transom_models.modelfile.go_template.parser import parse
    from transom_models.modelfile.go_template.writer import write

    return write(parse(source, first_line), first_line)


__all__ = ["MAX_TEMPLATE_CHARS", "UntranslatableTemplate", "translate"]
