package spec

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// HealthOptions are the flags --health-*; the zero value leaves all to the image.
type HealthOptions struct {
	Cmd           string // a line for the container's shell
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
	None          bool   // --no-healthcheck
	OnFailure     string // podman's: "", none, kill, restart, stop
}

// shortestHealth is the least that Docker takes for any of the durations that are
// not zero (moby, daemon/container.go, validateHealthCheck).
const shortestHealth = time.Millisecond

// healthFlags checks what needs no image, in Docker's words where it has some.
func (b *builder) healthFlags() error {
	h := b.o.Health
	onFailure := h.OnFailure
	h.OnFailure, h.None = "", false
	if b.o.Health.None && h != (HealthOptions{}) { // docker/cli, parse.go
		return hint.Newf("--no-healthcheck", "leave out one of them", "it conflicts with --health-* options")
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--health-interval", h.Interval}, {"--health-timeout", h.Timeout}, {"--health-start-period", h.StartPeriod}, {"--health-start-interval", h.StartInterval}} {
		if d.value != 0 && d.value < shortestHealth {
			return refuse(d.flag, d.value.String(), "give a duration as in 30s or 1m30s", "it cannot be less than 1ms")
		}
	}
	if h.Retries < 0 {
		return refuse("--health-retries", strconv.Itoa(h.Retries), "give a number from 1 on", "it cannot be negative")
	}
	choices := []string{"none", "kill", "restart", "stop"}
	if onFailure != "" && !slices.Contains(choices, onFailure) {
		return refuse("--health-on-failure", onFailure, orNearest(onFailure, choices, "choose "+words(choices)), "no such action")
	}
	return nil
}

// health merges the image's HEALTHCHECK with the flags: each one that is given
// replaces the image's (moby, daemon/commit.go, merge).
func (b *builder) health() error {
	h, err := imageHealth(b.img)
	if err != nil {
		return err
	}
	o := &b.o.Health
	if o.None {
		b.plan.Health = &record.Healthcheck{Test: []string{"NONE"}}
		return nil
	}
	if o.Cmd != "" {
		h.Test = []string{"CMD-SHELL", o.Cmd}
	}
	replace := func(to *time.Duration, given time.Duration) {
		if given != 0 {
			*to = given
		}
	}
	replace(&h.Interval, o.Interval)
	replace(&h.Timeout, o.Timeout)
	replace(&h.StartPeriod, o.StartPeriod)
	replace(&h.StartInterval, o.StartInterval)
	if o.Retries != 0 {
		h.Retries = o.Retries
	}
	h.OnFailure = o.OnFailure
	if len(h.Test) == 0 {
		if o.OnFailure != "" && o.OnFailure != "none" {
			return refuse("--health-on-failure", o.OnFailure, "give it: --health-cmd COMMAND", "there is no health check that could fail")
		}
		return nil
	}
	if h.Test[0] == "CMD-SHELL" && len(b.img.Shell) > 0 {
		// Docker takes the image's SHELL at each probe; the record has no place for it.
		h.Test = slices.Concat([]string{"CMD"}, b.img.Shell, h.Test[1:])
	}
	b.plan.Health = h
	return nil
}

// imageHealth is the image's HEALTHCHECK; what makes no sense is refused here and
// not by a probe that nobody sees.
func imageHealth(img *record.ImageConfig) (*record.Healthcheck, error) {
	h := new(record.Healthcheck)
	if len(img.Healthcheck) == 0 || string(img.Healthcheck) == "null" {
		return h, nil
	}
	const op = "read the image's HEALTHCHECK"
	if err := json.Unmarshal(img.Healthcheck, h); err != nil {
		return nil, hint.New(op, err, "leave it out: --no-healthcheck")
	}
	h.OnFailure = "" // an image has no say in that
	switch {
	case len(h.Test) == 0:
	case h.Test[0] == "NONE", h.Test[0] == "CMD" && len(h.Test) > 1, h.Test[0] == "CMD-SHELL" && len(h.Test) == 2:
	default:
		return nil, hint.Newf(op, "leave it out: --no-healthcheck, or give another: --health-cmd COMMAND", "%s is no probe", strings.Join(h.Test, " "))
	}
	if min(h.Interval, h.Timeout, h.StartPeriod, h.StartInterval) < 0 || h.Retries < 0 {
		return nil, hint.Newf(op, "leave it out: --no-healthcheck", "a duration or the number of retries is negative")
	}
	return h, nil
}
