package cgroup

import (
	"errors"
	"os"
)

var errNot = errors.New("not written yet")

// Resources are the limits of one container. Zero values ask for nothing.
type Resources struct {
	Memory     int64  // bytes
	MemorySwap int64  // bytes of memory and swap together; -1: as much swap as there is
	NanoCPUs   int64  // 1e9 is one CPU
	CPUShares  uint64 // relative weight, 1024 is everyone's default
	CpusetCPUs string // "0-2,4"
	PidsLimit  int64  // tasks; -1: no limit
}

// Stats is what one container used.
type Stats struct{}

func Find() (*Subtree, error)                                    { return nil, errNot }
func (s *Subtree) Create(id string, r Resources) (*Group, error) { return nil, errNot }
func (s *Subtree) List() ([]*Group, error)                       { return nil, errNot }
func (g *Group) PayloadFD() (*os.File, error)                    { return nil, errNot }
func (g *Group) AddPayload(pid int) error                        { return errNot }
func (g *Group) Kill() error                                     { return errNot }
func (g *Group) Freeze() error                                   { return errNot }
func (g *Group) Thaw() error                                     { return errNot }
func (g *Group) Stats() (*Stats, error)                          { return nil, errNot }
func (g *Group) OOMKilled() (bool, error)                        { return false, errNot }
func (g *Group) Populated() (bool, error)                        { return false, errNot }
func (g *Group) Remove() error                                   { return errNot }
func ParseBytes(s string) (int64, error)                         { return 0, errNot }
func ParseCPUs(s string) (int64, error)                          { return 0, errNot }
func ParseCpuset(s string) ([]int, error)                        { return nil, errNot }
