// Package settings is what ussdd and ussdctl read alike: where secrets are, which
// addresses replace those in the vendors' files, and what names their networks may
// have. A check by either tells what the other would.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ussdd/smpp"
)

// SecretPrefix begins the variables that hold secrets.
const SecretPrefix = "USSDD_SECRET_"

// SecretVariable is the variable that holds a secret if no file does.
func SecretVariable(name string) string {
	return SecretPrefix + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}

// Secret is the secret of a vendor or a webhook: a credential of systemd's, else the
// file of that name in dir unless dir is "", else SecretVariable's value. If a file
// that is there cannot be read, the error says why.
func Secret(dir, name string) (secret string, found bool, err error) {
	if filepath.IsLocal(name) {
		files := Credentials(name)
		if dir != "" {
			files = append(files, filepath.Join(dir, name))
		}
		if secret, found, err = ReadFirst(files); found || err != nil {
			return secret, found, err
		}
	}
	secret, found = os.LookupEnv(SecretVariable(name))
	return secret, found, nil
}

// Credentials are the files in which systemd may have put a credential: under
// its own name, or with the name of the unit's credential directory before it.
func Credentials(name string) []string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil
	}
	return []string{filepath.Join(dir, name), filepath.Join(dir, "ussdd_"+name)}
}

// ReadFirst gives the text of the first of the files that is there, without its
// line end.
func ReadFirst(files []string) (text string, found bool, err error) {
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return strings.TrimRight(string(b), "\r\n"), err == nil, err
	}
	return "", false, nil
}

// URLs are base URLs by vendor, written name=URL,name=URL.
type URLs map[string]string

// Decode reads them; envconfig calls it.
func (u *URLs) Decode(value string) error {
	*u = make(URLs)
	if value == "" {
		return nil
	}
	for pair := range strings.SplitSeq(value, ",") {
		name, to, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" || to == "" {
			return fmt.Errorf("%q is not name=URL", pair)
		}
		(*u)[name] = to
	}
	return nil
}

// CheckName says what is wrong with the name of a network: each message about one
// that GSM 03.38 lacks letters for would be in UCS-2, and too long.
func CheckName(name string) error {
	if _, lacks := (smpp.Text{Alphabet: smpp.GSM, Max: 160}).Cost(name); lacks != 0 {
		return fmt.Errorf("%q has %q, which short messages lack", name, lacks)
	}
	return nil
}
