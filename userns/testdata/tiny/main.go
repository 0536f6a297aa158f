// Program tiny does nothing: what is measured is the constructor and Go's start.
package main

import _ "github.com/rc-containers/rc/userns/nsjoin"

func main() {}
