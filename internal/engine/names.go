package engine

import "golang.org/x/sys/unix"

// A random name is an adjective and a tool, easy to say and to type.
var (
	adjectives = []string{"able", "bold", "brisk", "calm", "clear", "crisp", "deft", "eager", "fair", "fleet",
		"fresh", "gentle", "glad", "keen", "kind", "light", "lively", "lucid", "merry", "mild", "neat", "nimble",
		"plain", "prompt", "quick", "quiet", "ready", "sharp", "sleek", "smart", "snug", "spry", "steady", "still",
		"sunny", "swift", "tidy", "trim", "warm", "witty"}
	tools = []string{"adze", "anvil", "auger", "awl", "bellows", "bevel", "brace", "burin", "caliper", "chisel",
		"clamp", "compass", "drill", "file", "froe", "gauge", "gimlet", "gouge", "hammer", "jig", "lathe", "level",
		"lever", "loom", "mallet", "maul", "needle", "pestle", "plane", "plumb", "pulley", "punch", "rasp", "rivet",
		"saw", "shears", "spindle", "square", "tongs", "trowel", "vise", "wedge", "winch", "wrench"}
)

func randomName() string {
	var b [3]byte
	_, _ = unix.Getrandom(b[:], 0)
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	a := adjectives[n%len(adjectives)]
	t := tools[n/len(adjectives)%len(tools)]
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	return a + "_" + t + string(digits[n/7%36]) + string(digits[n/11%36])
}
