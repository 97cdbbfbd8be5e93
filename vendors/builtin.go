package vendors

import (
	"embed"
	"io/fs"
)

//go:embed builtin/*.yaml builtin/presets/*.yaml
var builtin embed.FS

// Builtin gives the vendor files that ship with the daemon, ready for Load: the four networks and
// two aggregators, at the addresses where vendorsim listens by default.
func Builtin() fs.FS {
	sub, _ := fs.Sub(builtin, "builtin") // fails only for an invalid name
	return sub
}

// Presets gives vendor files for real providers, written from their public documentation, with a
// routes.yaml that names them all. They are there to copy from: what public text does not settle is
// marked in them, and nothing sells by them until somebody puts them into a set.
func Presets() fs.FS {
	sub, _ := fs.Sub(builtin, "builtin/presets") // fails only for an invalid name
	return sub
}
