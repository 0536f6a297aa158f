package names

type limits struct{}

func newLimits() *limits { return &limits{} }

type forwarder struct{}

func newForwarder(Options, *limits) *forwarder { return &forwarder{} }
