package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	scmp "github.com/seccomp/libseccomp-golang"
)

// addCall adds one system call of a rule. A name that libseccomp does not know
// is no error: profiles name calls of kernels to come.
func addCall(filter *scmp.ScmpFilter, name string, call specs.LinuxSyscall, defaultAction scmp.ScmpAction, unknown *newer) error {
	act, err := action(call.Action, call.ErrnoRet)
	if err != nil {
		return fmt.Errorf("action: %w", err)
	}
	conditions, err := conditions(call.Args)
	if err != nil {
		return err
	}
	number, err := scmp.GetSyscallFromName(name)
	if err != nil {
		unknown.add(name, call)
		return nil
	}
	if act == defaultAction {
		return nil // libseccomp refuses what changes nothing
	}
	if len(conditions) == 0 {
		return filter.AddRule(number, act)
	}
	if distinct(call.Args) {
		return filter.AddRuleConditional(number, act, conditions)
	}
	// Several conditions on one argument cannot all be in one rule; Docker and
	// runc take each as a rule of its own (runc, seccomp_linux.go, matchCall).
	for _, c := range conditions {
		if err := filter.AddRuleConditional(number, act, []scmp.ScmpCondition{c}); err != nil {
			return err
		}
	}
	return nil
}

func distinct(args []specs.LinuxSeccompArg) bool {
	seen := make(map[uint]bool)
	for _, a := range args {
		if seen[a.Index] {
			return false
		}
		seen[a.Index] = true
	}
	return true
}

var operators = map[specs.LinuxSeccompOperator]scmp.ScmpCompareOp{
	specs.OpNotEqual: scmp.CompareNotEqual, specs.OpLessThan: scmp.CompareLess, specs.OpLessEqual: scmp.CompareLessOrEqual,
	specs.OpEqualTo: scmp.CompareEqual, specs.OpGreaterEqual: scmp.CompareGreaterEqual, specs.OpGreaterThan: scmp.CompareGreater,
	specs.OpMaskedEqual: scmp.CompareMaskedEqual,
}

func conditions(args []specs.LinuxSeccompArg) ([]scmp.ScmpCondition, error) {
	var list []scmp.ScmpCondition
	for i, a := range args {
		op, ok := operators[a.Op]
		if !ok {
			return nil, fmt.Errorf("args[%d].op: unknown operator %q", i, a.Op)
		}
		if a.Index > 5 {
			return nil, fmt.Errorf("args[%d].index: %d, and a system call has six arguments", i, a.Index)
		}
		var c scmp.ScmpCondition
		var err error
		if op == scmp.CompareMaskedEqual {
			c, err = scmp.MakeCondition(a.Index, op, a.Value, a.ValueTwo)
		} else {
			c, err = scmp.MakeCondition(a.Index, op, a.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("args[%d]: %w", i, err)
		}
		list = append(list, c)
	}
	return list, nil
}
