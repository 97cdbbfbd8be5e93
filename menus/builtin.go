package menus

import (
	"embed"
	"io/fs"
)

//go:embed airtime.yaml
var builtin embed.FS

// Builtin returns the services that ship with the program, for [Load].
func Builtin() fs.FS { return builtin }
