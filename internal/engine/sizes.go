package engine

// Written says how many bytes each of the containers wrote to its root file
// system, by id. One that has none of its own (--rootfs) is left out.
func (e *Engine) Written(list []*Entry) (map[string]int64, error) {
	var ids, paths []string
	for i := range list {
		if list[i].Rootfs == "" {
			ids = append(ids, list[i].ID)
			paths = append(paths, e.Store.Path("containers", list[i].ID, "upper"))
		}
	}
	found, err := e.TreeSizes(paths)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for i, id := range ids {
		sizes[id] = found[i]
	}
	return sizes, nil
}
