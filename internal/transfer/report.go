package transfer

// event tells `rc events` what was done to an image. id is its hex id or, as
// Docker has it for what goes by name, the reference. A verb does not fail because
// its event could not be written.
func (s *Session) event(action, id, name string) {
	var attrs map[string]string
	if name != "" {
		attrs = map[string]string{"name": name}
	}
	_ = s.record.AppendEvent("image", action, id, attrs)
}
