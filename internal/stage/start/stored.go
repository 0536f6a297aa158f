package start

import (
	"bytes"

	"github.com/rc-containers/rc/internal/lazyjson"
	"github.com/rc-containers/rc/internal/stage"
)

// Stored is the configuration in a config.json below the state root of that name. It
// is made with absolute paths: where the folder was moved since, or is reached by
// another name, those below it are the ones of today.
func Stored(data []byte, root string) (*Config, error) {
	c := new(Config)
	err := stage.Decode(data, c)
	if err != nil || c.Root == root || c.Root == "" {
		return c, err
	}
	was := c
	c = new(Config)
	if err = stage.Decode(moved(data, was.Root, root), c); err != nil {
		return c, err
	}
	c.Root = root
	if c.Spec != nil && was.Spec != nil {
		c.Spec.Process = was.Spec.Process
		for i := range c.Spec.Mounts {
			c.Spec.Mounts[i].Destination = was.Spec.Mounts[i].Destination
		}
	}
	return c, nil
}

// moved replaces the beginning of every text that is a path below a folder.
func moved(data []byte, was, is string) []byte {
	from, ferr := lazyjson.Marshal(was + "/")
	to, terr := lazyjson.Marshal(is + "/")
	if ferr != nil || terr != nil {
		return data
	}
	// A text of JSON begins with a quote, and a quote within one has a backslash.
	return bytes.ReplaceAll(data, from[:len(from)-1], to[:len(to)-1])
}
