package engine

// limit gives the container its cgroup. Without a delegated subtree it runs
// without one, unless it asked for a limit.
func (l *launch) limit() error {
	limits := l.cfg.Again.Resources
	if l.plan != nil {
		limits = l.plan.Resources
	}
	asked := !limits.Empty()
	subtree, err := l.e.subtree()
	if err != nil {
		if asked {
			return err
		}
		return nil
	}
	group, err := subtree.Create(l.id, limits)
	if err != nil {
		if asked {
			return err
		}
		l.e.Warn("no cgroup of its own: " + err.Error())
		return nil
	}
	l.undo.Push(func() { _ = group.Remove() })
	l.cfg.Cgroup = group.Path
	if l.stand, err = subtree.HostFD(); err != nil {
		return err
	}
	if f, err := group.PayloadFD(); err == nil {
		l.files["cgroup"] = f
	}
	return nil
}

// tryLimit makes the group and removes it again, so that `rc create` refuses what
// no start could honour.
func (l *launch) tryLimit() error {
	if l.plan.Resources.Empty() {
		return nil
	}
	subtree, err := l.e.subtree()
	if err != nil {
		return err
	}
	group, err := subtree.Create(l.id, l.plan.Resources)
	if err != nil {
		return err
	}
	return group.Remove()
}
