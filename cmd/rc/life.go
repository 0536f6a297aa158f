package main

import (
	"fmt"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// lifeCommands are the verbs of a container's life: create, start, stop, restart, kill, …
func lifeCommands() []*command {
	return []*command{createCommand(), startCommand(), stopCommand(), restartCommand(), killCommand(), rmCommand(),
		pauseCommand(true), pauseCommand(false), waitCommand(), renameCommand(), updateCommand(), portCommand()}
}

// atATime is how many containers one command works on at once, as in Docker's CLI
// (docker/cli, container/utils.go, parallelOperation).
const atATime = 50

// atOnce does the same to several things side by side and prints each one's name
// when it is done, in the order given. Failures are as in eachOf.
func atOnce(refs []string, do func(string) error) (int, error) {
	results := make([]error, len(refs))
	done := make([]chan struct{}, len(refs))
	slots := make(chan struct{}, atATime)
	var wg sync.WaitGroup
	for i := range refs {
		done[i] = make(chan struct{})
		wg.Go(func() {
			defer close(done[i])
			slots <- struct{}{}
			results[i] = do(refs[i])
			<-slots
		})
	}
	i := -1
	code, err := eachOf(refs, func(ref string) error {
		i++
		<-done[i]
		if results[i] == nil {
			fmt.Fprintln(stdout, ref)
		}
		return results[i]
	})
	wg.Wait()
	return code, err
}

// needNames refuses a verb without a container.
func needNames(verb string, args []string) error {
	if len(args) == 0 {
		return hint.Newf("rc "+verb, "see `rc "+verb+" --help`", "no container is named")
	}
	return nil
}

// withEngine opens the engine for a verb that works on containers by name.
func withEngine(g *global, verb string, args []string, do func(e *engine.Engine) (int, error)) (int, error) {
	if err := needNames(verb, args); err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return do(e)
}

// selection is --all and --filter: containers that no name is given of.
type selection struct {
	all    bool
	filter filters
}

func (s *selection) bind(fs *pflag.FlagSet, verb string) {
	fs.BoolVar(&s.all, "all", false, verb+" every container")
	fs.VarP(&s.filter, "filter", "f", verb+" only containers that pass this `FILTER`, as in `rc ps`")
}

// names are the arguments, or with --all the containers of this host that pass.
func (s *selection) names(e *engine.Engine, verb string, args []string, fits func(*engine.Entry) bool) ([]string, error) {
	if !s.all {
		if len(s.filter.keys) > 0 {
			return nil, hint.Newf("rc "+verb, "add --all", "--filter chooses among all containers")
		}
		return args, needNames(verb, args)
	}
	if len(args) > 0 {
		return nil, hint.Newf("rc "+verb, "leave out one of the two", "--all and names were given")
	}
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	match, err := s.filter.matcher(&containers{e: e, all: list, images: map[string]*record.Image{}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range list {
		if c.MachineID == record.MachineID() && fits(c) && match(c) {
			names = append(names, c.Name)
		}
	}
	return names, nil
}

// callersStreams are rc's own.
func callersStreams(keys []byte) engine.Streams {
	return engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, DetachKeys: keys}
}
