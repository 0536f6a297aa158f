//go:build rcinit

package main

import _ "github.com/rc-containers/rc/userns/entry"
