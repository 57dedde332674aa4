"""The Jinja that stands before every translated template: Ollama's view of a conversation.

Ollama joins neighbouring messages of one role and collects the system messages before a template
sees them (`collate` in its `template/template.go`). Chosen parts only: a template without tools
carries no JSON macros. Jinja text only.
"""

from typing import Final

# BOS is not part of a Go template: Ollama's tokenizer puts it there where the model wants it.
# Whoever renders says so with `add_bos_token`, the name that tokenizer_config.json has for it.
_COLLATE: Final = """\
{#- Translated from a Go template. -#}
{%- if add_bos_token -%}{{- bos_token -}}{%- endif -%}
{%- set go = namespace(messages=[], system="", prompt="", response="", text="", role="",
    systems=0, tools=tools or [], turns=[]) -%}
{%- for message in messages -%}
  {%- set go.text = message.content if message.content is string else "" -%}
  {%- if message.content is not string -%}
    {%- for part in message.content or [] -%}
      {%- set go.text = go.text ~ (part.text or "") -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if message.role == "system" -%}
    {%- set go.system = (go.system ~ "\\n\\n" if go.systems else "") ~ go.text -%}
    {%- set go.systems = go.systems + 1 -%}
  {%- endif -%}
  {%- if message.role == go.role and message.role != "tool" -%}
    {%- set last = go.messages[-1] -%}
    {%- set go.messages = go.messages[:-1] + [{"role": last.role,
        "content": last.content ~ "\\n\\n" ~ go.text, "thinking": last.thinking,
        "images": last.images, "tool_calls": last.tool_calls, "tool_name": last.tool_name,
        "tool_call_id": last.tool_call_id }] -%}
  {%- else -%}
    {%- set go.messages = go.messages + [{"role": message.role, "content": go.text,
        "thinking": message.thinking or message.reasoning_content or "",
        "images": message.images or [], "tool_calls": message.tool_calls or [],
        "tool_name": message.tool_name or message.name or "",
        "tool_call_id": message.tool_call_id or "" }] -%}
  {%- endif -%}
  {%- set go.role = message.role -%}
{%- endfor -%}
"""

# With a suffix there is only the text before and after the gap.
_CONVERSATION_SUFFIX: Final = """\
{%- if suffix -%}
  {%- set go.prompt = go.messages[-1].content if go.messages else "" -%}
  {%- set go.messages = [] -%}
  {%- set go.tools = [] -%}
  {%- set go.system = "" -%}
{%- endif -%}
"""

_TURNS: Final = """\
{%- set go.system = "" -%}
{%- for message in go.messages -%}
  {%- if (message.role == "system" and (go.prompt or go.response))
      or (message.role == "user" and go.response) -%}
    {%- set go.turns = go.turns + [{"system": go.system, "prompt": go.prompt,
        "response": go.response, "first": not go.turns, "cut": false }] -%}
    {%- set go.system = "" -%}
    {%- set go.prompt = "" -%}
    {%- set go.response = "" -%}
  {%- endif -%}
  {%- if message.role == "system" -%}
    {%- set go.system = message.content -%}
  {%- elif message.role == "user" -%}
    {%- set go.prompt = message.content -%}
  {%- elif message.role == "assistant" -%}
    {%- set go.response = message.content -%}
  {%- endif -%}
{%- endfor -%}
{%- set go.turns = go.turns + [{"system": go.system, "prompt": go.prompt,
    "response": go.response, "first": not go.turns,
    "cut": add_generation_prompt or go.role != "assistant" }] -%}
"""

_TURNS_SUFFIX: Final = """\
{%- if suffix -%}
  {%- set go.turns = [{"system": "", "prompt": go.prompt, "response": "", "first": true,
      "cut": false }] -%}
{%- endif -%}
"""

# Go has no 5.0: a whole number is one, however the request spelled it.
_NUMBER: Final = """\
{%- macro go_number(value) -%}
  {{- (value | int) if -1000000000000000 < value and value < 1000000000000000
      and value == (value | int) else (value | tojson) -}}
{%- endmacro -%}
"""

# What Go's fmt prints for a value out of JSON.
_TEXT: Final = """\
{%- macro go_text(value, nil="<nil>") -%}
  {%- if value is none or value is not defined -%}{{- nil -}}
  {%- elif value is boolean -%}{{- "true" if value else "false" -}}
  {%- elif value is string -%}{{- value -}}
  {%- elif value is number -%}{{- go_number(value) -}}
  {%- elif value is mapping -%}
    {{- "map[" -}}
    {%- for key, item in value | dictsort(true) -%}
      {{- ("" if loop.first else " ") ~ key ~ ":" ~ go_text(item) -}}
    {%- endfor -%}
    {{- "]" -}}
  {%- else -%}
    {{- "[" -}}
    {%- for item in value -%}{{- ("" if loop.first else " ") ~ go_text(item) -}}{%- endfor -%}
    {{- "]" -}}
  {%- endif -%}
{%- endmacro -%}
"""

# What Go's encoding/json writes: no spaces, sorted keys, characters of HTML escaped.
_JSON: Final = """\
{%- macro go_json(value) -%}
  {%- if value is none or value is not defined -%}{{- "null" -}}
  {%- elif value is string -%}
    {{- value | tojson | replace("<", "\\\\u003c") | replace(">", "\\\\u003e")
        | replace("&", "\\\\u0026") | replace("\\u2028", "\\\\u2028")
        | replace("\\u2029", "\\\\u2029") -}}
  {%- elif value is boolean -%}{{- value | tojson -}}
  {%- elif value is number -%}{{- go_number(value) -}}
  {%- elif value is mapping -%}
    {{- "{" -}}
    {%- for key, item in value | dictsort(true) -%}
      {{- ("" if loop.first else ",") ~ go_json(key) ~ ":" ~ go_json(item) -}}
    {%- endfor -%}
    {{- "}" -}}
  {%- else -%}
    {{- "[" -}}
    {%- for item in value -%}{{- ("" if loop.first else ",") ~ go_json(item) -}}{%- endfor -%}
    {{- "]" -}}
  {%- endif -%}
{%- endmacro -%}
"""

# Tools in the order of Ollama's own types, not of the request.
_TOOLS: Final = """\
{%- macro go_tools(tools) -%}
  {%- if not tools -%}{{- "null" -}}
  {%- else -%}
    {{- "[" -}}
    {%- for tool in tools -%}{{- ("" if loop.first else ",") ~ go_tool(tool) -}}{%- endfor -%}
    {{- "]" -}}
  {%- endif -%}
{%- endmacro -%}
{%- macro go_tool(tool) -%}
  {{- "{\\"type\\":" ~ go_json(tool.get("type") or "") -}}
  {{- go_key("items", tool.get("items")) -}}
  {{- ",\\"function\\":" ~ go_function(tool.get("function") or {}) ~ "}" -}}
{%- endmacro -%}
{%- macro go_function(function) -%}
  {{- "{\\"name\\":" ~ go_json(function.get("name") or "") -}}
  {{- ",\\"description\\":" ~ go_json(function.get("description") or "") -}}
  {{- ",\\"parameters\\":" ~ go_parameters(function.get("parameters") or {}) ~ "}" -}}
{%- endmacro -%}
{%- macro go_parameters(parameters) -%}
  {{- "{\\"type\\":" ~ go_json(parameters.get("type") or "") -}}
  {{- go_key("$defs", parameters.get("$defs")) ~ go_key("items", parameters.get("items")) -}}
  {{- go_key("required", parameters.get("required") or none) -}}
  {{- ",\\"properties\\":" -}}
  {{- go_properties(parameters.get("properties") or {}) if parameters.get("properties") is mapping
      else "null" -}}
  {{- "}" -}}
{%- endmacro -%}
{%- macro go_properties(properties) -%}
  {{- "{" -}}
  {%- for key, item in properties | dictsort(true) -%}
    {{- ("" if loop.first else ",") ~ go_json(key) ~ ":" ~ go_property(item) -}}
  {%- endfor -%}
  {{- "}" -}}
{%- endmacro -%}
{%- macro go_property(property) -%}
  {%- set any_of = property.get("anyOf") or [] -%}
  {%- set own = namespace(text="") -%}
  {%- if any_of -%}
    {%- for item in any_of -%}
      {%- set own.text = own.text ~ ("" if loop.first else ",") ~ go_property(item) -%}
    {%- endfor -%}
    {%- set own.text = ",\\"anyOf\\":[" ~ own.text ~ "]" -%}
  {%- endif -%}
  {%- set own.text = own.text ~ go_key("type", property.get("type") or none)
      ~ go_key("items", property.get("items"))
      ~ go_key("description", property.get("description") or none)
      ~ go_key("enum", property.get("enum") or none) -%}
  {%- if property.get("properties") is mapping -%}
    {%- set own.text = own.text ~ ",\\"properties\\":{" -%}
    {%- for key, item in property.get("properties") | items -%}
      {%- set own.text = own.text ~ ("" if loop.first else ",") ~ go_json(key) ~ ":"
          ~ go_property(item) -%}
    {%- endfor -%}
    {%- set own.text = own.text ~ "}" -%}
  {%- endif -%}
  {%- set own.text = own.text ~ go_key("required", property.get("required") or none) -%}
  {{- "{" ~ own.text[1:] ~ "}" -}}
{%- endmacro -%}
{%- macro go_key(key, value) -%}
  {%- if value is defined and value is not none -%}
    {{- ",\\"" ~ key ~ "\\":" ~ go_json(value) -}}
  {%- endif -%}
{%- endmacro -%}
"""

_TYPESCRIPT: Final = """\
{%- macro go_typescript(property) -%}
  {%- set any_of = property.get("anyOf") or [] -%}
  {%- set kinds = property.get("type") or [] -%}
  {%- if any_of -%}
    {%- for item in any_of -%}
      {{- ("" if loop.first else " | ") ~ go_typescript(item) -}}
    {%- endfor -%}
  {%- elif not kinds -%}{{- "any" -}}
  {%- else -%}
    {%- for kind in ([kinds] if kinds is string else kinds) -%}
      {{- "" if loop.first else " | " -}}
      {{- {"string": "string", "number": "number", "integer": "number", "boolean": "boolean",
          "array": "any[]", "object": "Record<string, any>", "null": "null" }.get(kind) or "any" -}}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
"""


def prelude(body: str, *, turns: bool, suffix: bool) -> str:
    """What `body` needs before it. `turns`: the older form, run once for each turn."""
    tools = any(f"go_{name}(" in body for name in _TOOL_MACROS)
    text, json = "go_text(" in body, tools or "go_json(" in body
    parts = [_NUMBER] if text or json else []
    if text:
        parts.append(_TEXT)
    if json:
        parts.append(_JSON)
    if tools:
        parts.append(_TOOLS)
    if "go_typescript(" in body:
        parts.append(_TYPESCRIPT)
    parts.append(_COLLATE)
    if turns:
        parts.append(_TURNS)
    if suffix:
        parts.append(_TURNS_SUFFIX if turns else _CONVERSATION_SUFFIX)
    return "".join(parts)


_TOOL_MACROS: Final = ("tools", "tool", "function", "parameters", "properties", "property")
