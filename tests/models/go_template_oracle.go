// The prompts that Go renders, as Ollama hands it a conversation: the oracle of
// test_go_template.py. Reads requests, writes texts, one JSON value a line (make_go_template_prompts.py
// sends them). Types and rules are those of Ollama v0.33.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

type PType []string

func (p *PType) UnmarshalJSON(d []byte) error {
	var s string
	if json.Unmarshal(d, &s) == nil {
		*p = []string{s}
		return nil
	}
	var a []string
	if err := json.Unmarshal(d, &a); err != nil {
		return err
	}
	*p = a
	return nil
}
func (p PType) MarshalJSON() ([]byte, error) {
	if len(p) == 1 {
		return json.Marshal(p[0])
	}
	return json.Marshal([]string(p))
}
func (p PType) String() string {
	if len(p) == 0 {
		return ""
	}
	if len(p) == 1 {
		return p[0]
	}
	return fmt.Sprintf("%v", []string(p))
}

type Prop struct {
	AnyOf       []Prop   `json:"anyOf,omitempty"`
	Type        PType    `json:"type,omitempty"`
	Items       any      `json:"items,omitempty"`
	Description string   `json:"description,omitempty"`
	Enum        []any    `json:"enum,omitempty"`
	Required    []string `json:"required,omitempty"`
}
type Props map[string]Prop

func (t Props) String() string { b, _ := json.Marshal(t); return string(b) }

type Params struct {
	Type       string   `json:"type"`
	Defs       any      `json:"$defs,omitempty"`
	Items      any      `json:"items,omitempty"`
	Required   []string `json:"required,omitempty"`
	Properties Props    `json:"properties"`
}

func (t Params) String() string { b, _ := json.Marshal(t); return string(b) }

type Func struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  Params `json:"parameters"`
}

func (t Func) String() string { b, _ := json.Marshal(t); return string(b) }

type Tool struct {
	Type     string `json:"type"`
	Items    any    `json:"items,omitempty"`
	Function Func   `json:"function"`
}
type Tools []Tool

func (t Tools) String() string { b, _ := json.Marshal(t); return string(b) }
func (t Tool) String() string  { b, _ := json.Marshal(t); return string(b) }

type Args map[string]any

func (t Args) String() string {
	if t == nil {
		return "{}"
	}
	b, _ := json.Marshal(t)
	return string(b)
}

type CallFunc struct {
	Index     int
	Name      string
	Arguments Args
}
type Call struct {
	ID       string
	Function CallFunc
}
type Msg struct {
	Role, Content, Thinking string
	Images                  []string
	ToolCalls               []Call `json:"tool_calls"`
	ToolName                string `json:"tool_name"`
	ToolCallID              string `json:"tool_call_id"`
}
type Req struct {
	Template string
	Messages []*Msg
	Tools    Tools
	Think    bool
	Level    string
	Set      bool
	Suffix   string
}

var funcs = template.FuncMap{
	"json":             func(v any) string { b, _ := json.Marshal(v); return string(b) },
	"currentDate":      func(a ...string) string { return "2025-01-01" },
	"toTypeScriptType": func(v any) string { return "any" },
}

func ids(n parse.Node, out map[string]bool) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			ids(c, out)
		}
	case *parse.ActionNode:
		ids(n.Pipe, out)
	case *parse.IfNode:
		ids(&n.BranchNode, out)
	case *parse.WithNode:
		ids(&n.BranchNode, out)
	case *parse.RangeNode:
		ids(&n.BranchNode, out)
	case *parse.TemplateNode:
		ids(n.Pipe, out)
	case *parse.BranchNode:
		ids(n.Pipe, out)
		ids(n.List, out)
		if n.ElseList != nil {
			ids(n.ElseList, out)
		}
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				ids(a, out)
			}
		}
	case *parse.FieldNode:
		for _, i := range n.Ident {
			out[i] = true
		}
	case *parse.VariableNode:
		for _, i := range n.Ident {
			out[i] = true
		}
	}
}

func collate(ms []*Msg) (string, []*Msg) {
	var sys []string
	var out []*Msg
	for _, m := range ms {
		if m.Role == "system" {
			sys = append(sys, m.Content)
		}
		if len(out) > 0 && out[len(out)-1].Role == m.Role && m.Role != "tool" {
			out[len(out)-1].Content += "\n\n" + m.Content
		} else {
			out = append(out, m)
		}
	}
	return strings.Join(sys, "\n\n"), out
}

// cut removes, in document order, what follows the first .Response action.
func cut(list *parse.ListNode, done *bool) {
	var kept []parse.Node
	for _, n := range list.Nodes {
		if *done {
			continue
		}
		switch t := n.(type) {
		case *parse.ActionNode:
			for _, c := range t.Pipe.Cmds {
				for _, a := range c.Args {
					if f, ok := a.(*parse.FieldNode); ok && slices.Contains(f.Ident, "Response") {
						*done = true
					}
				}
			}
		case *parse.IfNode:
			cut(t.List, done)
			if t.ElseList != nil {
				cut(t.ElseList, done)
			}
		case *parse.WithNode:
			cut(t.List, done)
			if t.ElseList != nil {
				cut(t.ElseList, done)
			}
		case *parse.RangeNode:
			cut(t.List, done)
			if t.ElseList != nil {
				cut(t.ElseList, done)
			}
		}
		kept = append(kept, n)
	}
	list.Nodes = kept
}

func run(r Req) (string, error) {
	t, err := template.New("").Option("missingkey=zero").Funcs(funcs).Parse(r.Template)
	if err != nil {
		return "", err
	}
	vars := map[string]bool{}
	for _, x := range t.Templates() {
		ids(x.Root, vars)
	}
	if !vars["Messages"] && !vars["Response"] {
		p, _ := template.New("").Parse("{{ .Response }}")
		t.Tree.Root.Nodes = append(t.Tree.Root.Nodes, p.Tree.Root.Nodes...)
	}
	var b bytes.Buffer
	system, ms := collate(r.Messages)
	data := func(s, p, q string) map[string]any {
		return map[string]any{"System": s, "Prompt": p, "Response": q, "Think": r.Think, "ThinkLevel": r.Level, "IsThinkSet": r.Set}
	}
	if r.Suffix != "" {
		d := data("", ms[len(ms)-1].Content, "")
		delete(d, "System")
		d["Suffix"] = r.Suffix
		err = t.Execute(&b, d)
		return b.String(), err
	}
	if vars["Messages"] {
		d := data(system, "", "")
		delete(d, "Prompt")
		d["Messages"] = ms
		d["Tools"] = r.Tools
		err = t.Execute(&b, d)
		return b.String(), err
	}
	var s, p, q string
	flush := func() error {
		e := t.Execute(&b, data(s, p, q))
		s, p, q = "", "", ""
		return e
	}
	for _, m := range ms {
		switch m.Role {
		case "system":
			if p != "" || q != "" {
				if err := flush(); err != nil {
					return "", err
				}
			}
			s = m.Content
		case "user":
			if q != "" {
				if err := flush(); err != nil {
					return "", err
				}
			}
			p = m.Content
		case "assistant":
			q = m.Content
		}
	}
	done := false
	cut(t.Root, &done)
	err = t.Execute(&b, data(s, p, q))
	return b.String(), err
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var r Req
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		out, err := run(r)
		m := map[string]any{"text": out}
		if err != nil {
			m = map[string]any{"error": err.Error()}
		}
		j, _ := json.Marshal(m)
		fmt.Println(string(j))
	}
}
