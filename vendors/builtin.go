package vendors

import (
	"embed"
	"io/fs"
)

//go:embed builtin/*.yaml
var builtin embed.FS

// Builtin gives the vendor files that ship with the daemon, ready for Load: the four networks and
// two aggregators, at the addresses where vendorsim listens by default.
func Builtin() fs.FS {
	sub, _ := fs.Sub(builtin, "builtin") // fails only for an invalid name
	return sub
}
