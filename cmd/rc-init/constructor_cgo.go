//go:build cgo

package main

import _ "github.com/rc-containers/rc/userns/nsjoin"
