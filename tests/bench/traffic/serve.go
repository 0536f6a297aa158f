package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// The first byte of a connection says what it is for.
const (
	sink   = 's' // read to the end of file, then answer how much it was
	source = 'd' // write until the other side closes
	echo   = 'e' // return each byte
	once   = 'o' // return one byte, and close
)

// block is how much one call writes or reads, in bytes: as much as a program that is
// in a hurry hands to the kernel.
const block = 256 << 10

func serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			// A client that goes away early is nobody's failure.
			_ = answer(c)
			_ = c.Close()
		}()
	}
}

func answer(c net.Conn) error {
	var kind [1]byte
	if _, err := io.ReadFull(c, kind[:]); err != nil {
		return err
	}
	switch kind[0] {
	case sink:
		n, err := drain(c)
		return errors.Join(err, binary.Write(c, binary.BigEndian, n))
	case source:
		b := make([]byte, block)
		for {
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
	case echo:
		for {
			if err := back(c); err != nil {
				return err
			}
		}
	case once:
		return back(c)
	}
	return errors.New("an unknown kind")
}

// back returns one byte.
func back(c net.Conn) error {
	b := make([]byte, 1)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// drain reads to the end of file. (io.Copy to io.Discard would read 8 KiB at a time.)
func drain(c net.Conn) (total int64, err error) {
	b := make([]byte, block)
	for {
		n, err := c.Read(b)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
