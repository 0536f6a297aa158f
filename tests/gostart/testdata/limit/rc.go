//go:build rc

package main

import _ "github.com/rc-containers/rc/internal/patient"
