//go:build rc

package main

import _ "github.com/rc-containers/rc/cmd/rc/patient"
