package guest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cron has cron(8) run a line as user, once, and returns what came of it: after at
// most a minute and the line's own time. A job has no session, no terminal and
// none of a login's environment (Debian's PAM stack of cron leaves pam_systemd out).
func (g *Guest) Cron(ctx context.Context, user, line string) Result {
	// crontab(5) gives % a meaning and ends a job at its line's end: it names a script.
	g.mu.Lock()
	g.jobs++
	job := fmt.Sprintf("/var/tmp/rc-cron-%d", g.jobs)
	g.mu.Unlock()
	name := "/etc/cron.d/rc-" + strconv.Itoa(int(time.Now().UnixNano()%1e9))
	prepare := fmt.Sprintf("install -d -m 777 %[1]s && cat >%[1]s/line && chmod 644 %[1]s/line && "+
		"echo '* * * * * %[2]s mkdir %[1]s/once && { bash %[1]s/line >%[1]s/out 2>%[1]s/err; echo $? >%[1]s/code.new; mv %[1]s/code.new %[1]s/code; }' >%[3]s", job, user, name)
	var said strings.Builder
	if code, err := g.Stream(ctx, Root, prepare, Streams{Stdin: strings.NewReader(line + "\n"), Stderr: &said}); code != 0 || err != nil {
		return Result{Code: code, Stderr: said.String(), Err: fmt.Errorf("install a cron job: %d, %w", code, err)}
	}
	r := g.Run(ctx, Root, fmt.Sprintf("until [ -e %[1]s/code ]; do sleep 0.3; done; rm %[2]s; cat %[1]s/out; cat %[1]s/err >&2; exit $(cat %[1]s/code)", job, name))
	return r
}
