"""`transom completion bash|zsh|fish`: the script by which a shell asks `transom` what may follow.

The script is click's. What it asks for is answered by the verbs' own arguments and `stored_name`.
"""

from typing import Final

import click
from click.shell_completion import get_completion_class

# bash takes a colon for the end of a word, so that `smollm2:la` would be three; npm's script does
# the same.
_BASH_WORDS: Final = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"
PROGRAM: Final = "transom"
COMPLETE_VARIABLE: Final = "_TRANSOM_COMPLETE"


@click.command(
    epilog="bash: transom completion bash >> ~/.bashrc\n\n"
    "zsh: transom completion zsh >> ~/.zshrc\n\n"
    "fish: transom completion fish > ~/.config/fish/completions/transom.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes verbs and names in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    # Not `source()`: it runs bash to look at its version, which a script for later need not.
    complete = kind(root, {}, PROGRAM, COMPLETE_VARIABLE)
    if shell == "bash":
        click.echo(_BASH_WORDS)
    click.echo(complete.source_template % complete.source_vars())
