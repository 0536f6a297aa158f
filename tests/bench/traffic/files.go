package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// What is done to files: folders of as many files each, small ones, and a large one.
const (
	folders, inFolder = 5, 100
	small4K           = 4 << 10
	chunk, chunks     = 1 << 20, 64
)

// onFiles does each kind of work in a folder that is made for it and removed, and to the
// files of data, which stay; it returns the microseconds of one each.
func onFiles(work, data string) (map[string]float64, error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	took := map[string]float64{}
	for _, step := range []struct {
		kind string
		do   func(work, data string) (int, error)
	}{
		{"create", create}, {"stat", stat}, {"read", read}, {"list", list}, {"rename", rename}, {"remove", remove},
		{"change", change}, {"write", write}, {"again", again},
	} {
		begin := time.Now()
		n, err := step.do(work, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.kind, err)
		}
		took[step.kind] = float64(time.Since(begin).Nanoseconds()) / 1000 / float64(max(n, 1))
	}
	return took, nil
}

// each calls do for the path of every small file; how many there are.
func each(work string, do func(path string) error) (n int, err error) {
	for folder := range folders {
		for file := range inFolder {
			if err := do(filepath.Join(work, fmt.Sprint(folder), fmt.Sprint(file))); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func create(work, _ string) (int, error) {
	body := make([]byte, small4K)
	for folder := range folders {
		if err := os.Mkdir(filepath.Join(work, fmt.Sprint(folder)), 0o755); err != nil {
			return 0, err
		}
	}
	return each(work, func(path string) error { return os.WriteFile(path, body, 0o644) })
}

func stat(work, _ string) (int, error) {
	return each(work, func(path string) error {
		_, err := os.Lstat(path)
		return err
	})
}

func read(work, _ string) (int, error) {
	return each(work, func(path string) error {
		_, err := os.ReadFile(path)
		return err
	})
}

func list(work, _ string) (int, error) {
	for folder := range folders {
		if _, err := os.ReadDir(filepath.Join(work, fmt.Sprint(folder))); err != nil {
			return 0, err
		}
	}
	return folders, nil
}

func rename(work, _ string) (int, error) {
	return each(work, func(path string) error { return os.Rename(path, path+".new") })
}

func remove(work, _ string) (int, error) {
	return each(work, func(path string) error { return os.Remove(path + ".new") })
}

// change writes one byte into each file of the image, of which a container then gets a
// copy of its own.
func change(_, data string) (int, error) {
	names, err := os.ReadDir(data)
	if err != nil {
		return 0, err
	}
	for _, e := range names {
		f, err := os.OpenFile(filepath.Join(data, e.Name()), os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		_, err = f.WriteAt([]byte("x"), 1)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

func write(work, _ string) (int, error) {
	f, err := os.Create(filepath.Join(work, "large"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	body := make([]byte, chunk)
	for range chunks {
		if _, err := f.Write(body); err != nil {
			return 0, err
		}
	}
	return chunks, nil
}

func again(work, _ string) (int, error) {
	f, err := os.Open(filepath.Join(work, "large"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	body := make([]byte, chunk)
	for range chunks {
		if _, err := io.ReadFull(f, body); err != nil {
			return 0, err
		}
	}
	return chunks, nil
}
