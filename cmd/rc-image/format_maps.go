package main

import (
	"fmt"
	"text/template/parse"
)

// entry is a key's value, or nil, which prints as <no value> and is false. In what
// textsNames has, somebody chose the keys: Docker's templates may ask for any.
// Elsewhere Docker has structs, and to ask for what is not there is an error.
func entry(m any, key string) (any, error) {
	switch m := m.(type) {
	case texts:
		if v, ok := m[key]; ok {
			return v, nil
		}
		return nil, nil
	case object:
		return m[key], nil
	case nil:
		return nil, nil
	}
	return nil, fmt.Errorf("can't evaluate field %s in %T", key, m)
}

// openKeys makes a call of entry of each .Labels.key in a list of nodes.
func openKeys(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			openPipe(n.Pipe)
		case *parse.IfNode:
			openBranch(&n.BranchNode)
		case *parse.RangeNode:
			openBranch(&n.BranchNode)
		case *parse.WithNode:
			openBranch(&n.BranchNode)
		case *parse.TemplateNode:
			openPipe(n.Pipe)
		}
	}
}

func openBranch(b *parse.BranchNode) {
	openPipe(b.Pipe)
	openKeys(b.List)
	openKeys(b.ElseList)
}

func openPipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		for i, arg := range c.Args {
			switch arg := arg.(type) {
			case *parse.PipeNode:
				openPipe(arg)
			case *parse.FieldNode:
				if n := len(arg.Ident) - 2; n >= 0 && textsNames[arg.Ident[n]] {
					c.Args[i] = callEntry(&parse.FieldNode{NodeType: parse.NodeField, Pos: arg.Pos, Ident: arg.Ident[:n+1]}, arg.Ident[n+1])
				}
			case *parse.VariableNode: // $ and $x are its first name
				if n := len(arg.Ident) - 2; n >= 1 && textsNames[arg.Ident[n]] {
					c.Args[i] = callEntry(&parse.VariableNode{NodeType: parse.NodeVariable, Pos: arg.Pos, Ident: arg.Ident[:n+1]}, arg.Ident[n+1])
				}
			}
		}
	}
}

// callEntry is (entry m "key").
func callEntry(m parse.Node, key string) *parse.PipeNode {
	at := m.Position()
	args := []parse.Node{
		parse.NewIdentifier("entry").SetPos(at), m,
		&parse.StringNode{NodeType: parse.NodeString, Pos: at, Quoted: `"` + key + `"`, Text: key},
	}
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: at, Cmds: []*parse.CommandNode{{NodeType: parse.NodeCommand, Pos: at, Args: args}}}
}
