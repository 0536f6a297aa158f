package main

import (
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
)

// fileCommands are the verbs that move files: cp, export, diff, commit.
func fileCommands() []*command {
	return []*command{cpCommand(), diffCommand(), commitCommand(), exportCommand()}
}

// fileVerb opens the engine for one call.
func fileVerb(g *global, do func(*engine.Engine) (int, error)) (int, error) {
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return do(e)
}

func cpCommand() *command {
	cfg := &engine.FilesConfig{}
	var flags *pflag.FlagSet
	return &command{
		name: "cp", args: "[CONTAINER:]SRC|- [CONTAINER:]DEST|-", short: "Copy files between containers and the host",
		long: "A folder is copied with all that is in it; SRC/. means its content alone. Where DEST is a folder\n" +
			"the copy goes into it. - is a tar archive on stdin or stdout. A path of a container begins at its /,\n" +
			"running or not; a path of the host with a colon is written ./a:b. What is copied belongs to the\n" +
			"container's root, or on the host to you, and loses its set-id bits there.",
		examples: []string{"rc cp web:/etc/nginx .", "rc cp site/. web:/srv/www", "rc cp web:/var/log - | tar t"},
		flags: func(fs *pflag.FlagSet) {
			flags = fs
			fs.BoolVarP(&cfg.Archive, "archive", "a", false, "keep the owners that the files have at their source (in a container)")
			fs.BoolVarP(&cfg.Follow, "follow-link", "L", false, "when SRC is a symbolic link, copy what it leads to")
			fs.BoolVarP(&cfg.Quiet, "quiet", "q", false, "print nothing but errors (the default where the output is no terminal)")
		},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 2 {
				return 0, hint.Newf("rc cp", "see `rc cp --help`", "it takes a source and a destination, %d were given", len(args))
			}
			cfg.From, cfg.To = place(args[0]), place(args[1])
			if err := checkPlaces(cfg); err != nil {
				return 0, err
			}
			if !flags.Changed("quiet") {
				cfg.Quiet = !isTerminal(os.Stdout) // as docker/cli: cron mails every word
			}
			return fileVerb(g, func(e *engine.Engine) (int, error) { return e.Copy(*cfg) })
		},
	}
}

// place reads CONTAINER:PATH, or a path of the host: what begins with / or . is
// one whatever colons follow (as docker cp has it).
func place(arg string) engine.FilesPlace {
	if ref, path, ok := strings.Cut(arg, ":"); ok && ref != "" && !strings.HasPrefix(arg, "/") && !strings.HasPrefix(arg, ".") {
		return engine.FilesPlace{Typed: ref, Path: path}
	}
	return engine.FilesPlace{Path: arg}
}

func checkPlaces(cfg *engine.FilesConfig) error {
	wrong := func(fix, what string) error { return hint.Newf("rc cp", fix, "%s", what) }
	from, to := cfg.From, cfg.To
	switch {
	case from.Typed == "" && to.Typed == "":
		return wrong("write CONTAINER:PATH for one of them", "neither the source nor the destination is in a container")
	case from.Path == "" || to.Path == "":
		return wrong("write CONTAINER:/PATH", "an empty path")
	case to.Typed == "" && to.Path == "-" && isTerminal(os.Stdout):
		return wrong("redirect stdout", "stdout is a terminal, and an archive is no text")
	}
	return nil
}

func exportCommand() *command {
	cfg := &engine.FilesConfig{}
	return &command{
		name: "export", args: "CONTAINER", short: "Write a container's files as a tar archive",
		long:     "All of its root file system, without volumes and other mounts. `rc import` makes an image of it.",
		examples: []string{"rc export -o web.tar web", "rc export web | rc import - web:copy"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&cfg.To.Path, "output", "o", "", "write to this `FILE` instead of stdout")
		},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 1 {
				return 0, hint.Newf("rc export", "see `rc export --help`", "it takes one container, %d were given", len(args))
			}
			if cfg.To.Path == "" && isTerminal(os.Stdout) {
				return 0, hint.Newf("rc export", "use -o FILE, or redirect stdout", "stdout is a terminal, and an archive is no text").WithCode(1)
			}
			cfg.From = engine.FilesPlace{Typed: args[0], Path: "/"}
			return fileVerb(g, func(e *engine.Engine) (int, error) { return e.Export(*cfg) })
		},
	}
}

func diffCommand() *command {
	return &command{
		name: "diff", args: "CONTAINER", short: "Show what a container changed in its files",
		long:     "One line a path: A added, C changed, D deleted, compared with the image.",
		examples: []string{"rc diff web"},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 1 {
				return 0, hint.Newf("rc diff", "see `rc diff --help`", "it takes one container, %d were given", len(args))
			}
			return fileVerb(g, func(e *engine.Engine) (int, error) { return e.Diff(args[0]) })
		},
	}
}

type commitOptions struct {
	cfg            engine.FilesConfig
	pause, noPause bool
}

func commitCommand() *command {
	o := &commitOptions{}
	return &command{
		name: "commit", args: "CONTAINER [NAME[:TAG]]", short: "Make an image of a container",
		long:     "The image is the container's own with one layer more: what the container changed, without its\nvolumes. Its settings are those that the container was made with, changed by -c.",
		examples: []string{"rc commit -m 'with curl' web web:curl", `rc commit -c 'CMD ["nginx"]' -c 'EXPOSE 80' web`},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&o.cfg.Author, "author", "a", "", "`NAME` of the author in the image's history")
			fs.StringArrayVarP(&o.cfg.Changes, "change", "c", nil, "apply a Dockerfile `INSTRUCTION`: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR")
			fs.StringVarP(&o.cfg.Message, "message", "m", "", "put this `TEXT` into the image's history")
			fs.BoolVarP(&o.pause, "pause", "p", true, "pause the container while it is read")
			fs.BoolVar(&o.noPause, "no-pause", false, "let the container go on while it is read")
			fs.BoolVarP(&o.cfg.Quiet, "quiet", "q", false, "print no progress")
		},
		run: func(g *global, args []string) (int, error) {
			if len(args) < 1 || len(args) > 2 {
				return 0, hint.Newf("rc commit", "see `rc commit --help`", "it takes a container and perhaps a name, %d were given", len(args))
			}
			o.cfg.From = engine.FilesPlace{Typed: args[0], Path: "/"}
			o.cfg.Name = append(args, "")[1]
			return fileVerb(g, func(e *engine.Engine) (int, error) { return e.Commit(o.cfg, o.pause && !o.noPause) })
		},
	}
}
