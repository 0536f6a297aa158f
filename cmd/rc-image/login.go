package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rc-containers/rc/internal/transfer"
)

type loginCommand struct {
	common
	user, password string
	stdin          bool
}

func (c *loginCommand) flags(f *pflag.FlagSet) {
	c.bind(f, true)
	c.bindQuiet(f, "do not say where the password is kept")
	f.StringVarP(&c.user, "username", "u", "", "`NAME` of the user")
	f.StringVarP(&c.password, "password", "p", "", "`PASSWORD`, which others can read in the process list; see --password-stdin")
	f.BoolVar(&c.stdin, "password-stdin", false, "read the password from stdin")
}

func (c *loginCommand) run(ctx context.Context, args []string) error {
	if len(args) > 1 {
		return wrongCall("login", "one server at most is wanted")
	}
	if err := c.ask(); err != nil {
		return err
	}
	o, err := c.options("")
	if err != nil {
		return err
	}
	return transfer.Login(ctx, o, transfer.Account{Server: append(args, "")[0], User: c.user, Password: c.password})
}

// ask completes the account from stdin: the password alone, or both on a terminal.
func (c *loginCommand) ask() (err error) {
	terminal := term.IsTerminal(int(os.Stdin.Fd()))
	switch {
	case c.stdin && c.password != "":
		return wrongCall("login", "--password and --password-stdin exclude each other")
	case c.stdin && c.user == "":
		return wrongCall("login", "--password-stdin needs --username")
	case c.stdin:
		c.password, err = transfer.ReadPassword(os.Stdin)
		return err
	case (c.user == "" || c.password == "") && !terminal:
		return wrongCall("login", "stdin is no terminal: use --username and --password-stdin")
	}
	if c.user == "" {
		fmt.Fprint(os.Stderr, "Username: ")
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			return err
		}
		c.user = strings.TrimSpace(text)
	}
	if c.password == "" {
		fmt.Fprint(os.Stderr, "Password: ")
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return err
		}
		c.password = string(b)
	}
	return nil
}

type logoutCommand struct {
	common
	all bool
}

func (c *logoutCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	f.BoolVarP(&c.all, "all", "a", false, "forget every account")
}

func (c *logoutCommand) run(_ context.Context, args []string) error {
	if len(args) > 1 {
		return wrongCall("logout", "one server at most is wanted")
	}
	o, err := c.options("")
	if err != nil {
		return err
	}
	return transfer.Logout(o, append(args, "")[0], c.all)
}
