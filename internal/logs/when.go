package logs

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
)

// ParseTime reads the values of --since and --until as Docker does: a duration
// before now, a date and time (RFC 3339 or without its seconds, time or zone: the
// zone is then the caller's), or seconds of the Unix epoch with a fraction.
func ParseTime(flag, s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && s != "0" {
		return now.Add(-d), nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00", "2006-01-02Z07:00", // with a zone
		"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", // a fraction is taken with the seconds
	} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	nanos, ok := nanoseconds(fraction)
	if err != nil || !ok || seconds > math.MaxInt64/int64(time.Second) || seconds < 0 {
		return time.Time{}, hint.Newf("--"+flag+" "+s, "write it as 10m, 2024-01-02T15:04:05Z or 1704207845.5", "no time is written so").WithCode(1)
	}
	return time.Unix(seconds, nanos), nil
}

// nanoseconds reads a decimal fraction of a second.
func nanoseconds(s string) (int64, bool) {
	if strings.Trim(s, "0123456789") != "" || len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseInt(s+strings.Repeat("0", 9-len(s)), 10, 64)
	return n, err == nil
}
