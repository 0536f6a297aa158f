package fuse

func playRole(string) int { return 2 }
