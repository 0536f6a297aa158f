package caller

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// For is a user for one test: one who leaves something behind fails it. It skips where
// there can be none.
func For(t testing.TB) *Caller {
	t.Helper()
	if why := Unmet(); why != "" {
		t.Skip(why)
	}
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Main is a TestMain: one user for all tests of a package, whom prepare readies before
// them; after, if not nil, comes behind them. A user who leaves something behind fails
// them. Where there can be none, each test has to skip by itself, with Unmet.
func Main(m *testing.M, prepare func(*Caller) (after func(), err error)) {
	if Unmet() != "" {
		os.Exit(m.Run())
	}
	fail := func(when string, err error) {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+": "+when+":", err)
		os.Exit(1)
	}
	c, err := New()
	if err != nil {
		fail("before all tests", err)
	}
	after, err := prepare(c)
	if err != nil {
		fail("before all tests", err)
	}
	code := m.Run()
	if after != nil {
		after()
	}
	if err := c.Close(); err != nil {
		fail("after all tests", err)
	}
	os.Exit(code)
}
