package slirp

import (
	"os"
	"path/filepath"
)

// What a keeper that fails says last, in the runtime folder: its streams lead nowhere.
const (
	// WordsName is the file of a keeper that lives.
	WordsName = "keeper.words"
	// FailedName is what the next keeper makes of the words of one that failed.
	FailedName = "keeper.failed"
	// CrashName are words that the user has been told of.
	CrashName = "keeper.crash"
)

// TakeCrash tells once that a keeper of the folder has failed, and where its words
// are. It costs one system call where none has.
func TakeCrash(runtimeDir string) (path string, failed bool) {
	path = filepath.Join(runtimeDir, CrashName)
	return path, os.Rename(filepath.Join(runtimeDir, FailedName), path) == nil
}
