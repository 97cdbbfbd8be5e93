package vendors

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	_ "crypto/sha1" // some vendors want it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// signing says how a request is signed.
type signing struct {
	hash     crypto.Hash
	hmac     bool     // keyed by the secret; else text alone is hashed
	secret   string   // name of the secret that keys the HMAC
	text     template // what is signed
	encoding string   // hex, HEX or base64
	headers  []pair   // what carries the signature, and what goes with it
}

var hashes = map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha512": crypto.SHA512}

// signedNames are the placeholders of what is signed; the headers have {signature}, too.
var signedNames = []string{"method", "path", "query", "url", "body", "time", "nonce", "secret"}

// signed is the request as a signature sees it.
type signed struct {
	method, path, query, url, body, nonce, signature string
}

func (s *signed) write(p part) string {
	if s == nil {
		return ""
	}
	switch p.name {
	case "method":
		return s.method
	case "path":
		return s.path
	case "query":
		return s.query
	case "nonce":
		return s.nonce
	case "signature":
		return s.signature
	case "url":
		if p.form == "escaped" {
			return url.QueryEscape(s.url)
		}
		return s.url
	}
	if p.form == "plain" {
		return s.body
	}
	name, encoding, _ := strings.Cut(p.form, "-")
	h := hashes[name].New()
	h.Write([]byte(s.body))
	return encode(h.Sum(nil), encoding)
}

func encode(b []byte, encoding string) string {
	switch encoding {
	case "base64":
		return base64.StdEncoding.EncodeToString(b)
	case "HEX":
		return strings.ToUpper(hex.EncodeToString(b))
	}
	return hex.EncodeToString(b)
}

// sign adds the headers of a signature. Each sending has a time and a nonce of its own.
func (s *signing) sign(req *http.Request, body string, k *keys) error {
	d := &signed{method: req.Method, path: req.URL.EscapedPath(), query: req.URL.RawQuery, url: req.URL.String(), body: body, nonce: rand.Text()}
	v := &values{keys: k, at: time.Now().UTC(), signed: d}
	text, err := s.text.write(v)
	if err != nil {
		return err
	}
	h := s.hash.New()
	if s.hmac {
		h = hmac.New(s.hash.New, []byte(k.secret(s.secret)))
	}
	h.Write([]byte(text))
	d.signature = encode(h.Sum(nil), s.encoding)
	if k.masked {
		d.signature = "[signature]"
	}
	return setHeaders(req, s.headers, v)
}

func readSigning(v value) *signing {
	s := &signing{encoding: "hex"}
	o, ok := v.object("algorithm", "secret", "text", "encoding", "headers")
	if !ok {
		return s
	}
	if f, ok := o.need("algorithm"); ok {
		name, _ := f.oneOf("hmac-sha1", "hmac-sha256", "hmac-sha512", "sha1", "sha256", "sha512")
		var hash string
		hash, s.hmac = strings.CutPrefix(name, "hmac-")
		s.hash = hashes[hash]
		secret, given := o.has("secret")
		switch {
		case s.hmac && !given:
			o.problem("secret is missing")
		case s.hmac:
			s.secret = secret.secretName()
		case given && name != "":
			secret.problem("%s has no key: use {secret.NAME} in the text", name)
		case name != "" && !secretIn(o, "text"):
			f.problem("needs a {secret.NAME} in the text: without it anybody could sign")
		}
	}
	if f, ok := o.need("text"); ok {
		s.text, _ = readTemplate(f, signedNames, false)
	}
	if f, ok := o.has("encoding"); ok {
		s.encoding, _ = f.oneOf("hex", "HEX", "base64")
	}
	if f, ok := o.need("headers"); ok {
		s.headers = readPairsOf(f, append([]string{"signature"}, signedNames...), true)
		carries := false
		for _, h := range s.headers {
			carries = carries || h.value.has("signature")
		}
		if !carries {
			f.problem("{signature} stands in none of them")
		}
	}
	return s
}

func secretIn(o object, key string) bool {
	f, ok := o.has(key)
	return ok && strings.Contains(f.node.Value, "{secret.")
}
