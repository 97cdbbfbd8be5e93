package vendors

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// naming says how a vendor wants the references of attempts to be made.
type naming struct {
	make    template       // nil = as they are
	pattern *regexp.Regexp // what every reference must look like; nil = any
	zone    int            // seconds east of UTC, for {time}
}

// Reference gives the reference that an attempt must have at this vendor: own itself, unless the
// vendor's file says how references are made. at is when the attempt is recorded. Whoever sells
// keeps the result with the attempt and gives it as Request.Reference to Vend and to every Query;
// it is not to be made again, for some vendors want the time in it. Different owns give different
// references.
func (e *Endpoint) Reference(own string, at time.Time) (string, error) {
	n := e.vendor.plan.reference
	reference := own
	if n.make != nil {
		var err error
		if reference, err = n.write(own, at); err != nil {
			return "", fmt.Errorf("reference for %s: %w", e.vendor.name, err)
		}
	}
	if err := n.check(reference); err != nil {
		return "", fmt.Errorf("reference for %s: %w", e.vendor.name, err)
	}
	return reference, nil
}

func (n naming) write(own string, at time.Time) (string, error) {
	return n.make.write(&values{reference: own, at: at.In(time.FixedZone("", n.zone))})
}

// check reports what is wrong with a reference for this vendor.
func (n naming) check(reference string) error {
	switch {
	case !isReference(reference):
		return fmt.Errorf("it is not 1 to 64 printable ASCII characters")
	case n.pattern != nil && !n.pattern.MatchString(reference):
		return fmt.Errorf("it does not match %s", n.pattern)
	}
	return nil
}

// sampleReference is what Load tries a file's reference with: as long as they come.
const sampleReference = "TXN-0C8M1T5XJ4Q2A-12"

func readNaming(v value) naming {
	var n naming
	o, ok := v.object("make", "pattern", "zone")
	if !ok {
		return n
	}
	if f, ok := o.has("pattern"); ok {
		if s, ok := f.filled(); ok {
			var err error
			if n.pattern, err = regexp.Compile("^(?:" + s + ")$"); err != nil {
				f.problem("%v", err)
			}
		}
	}
	if f, ok := o.has("zone"); ok {
		s, _ := f.text()
		if t, err := time.Parse("-07:00", s); err != nil {
			f.problem("must be an offset from UTC like +01:00")
		} else {
			_, n.zone = t.Zone()
		}
	}
	f, ok := o.has("make")
	if !ok {
		return n
	}
	if n.make, ok = readTemplate(f, []string{"reference", "time"}, false); !ok {
		return n
	}
	if !n.make.has("reference") {
		f.problem("{reference} stands nowhere in it: two attempts could have one reference")
		return n
	}
	if s, err := n.write(sampleReference, time.Now()); err != nil {
		f.problem("%v", err)
	} else if err := n.check(s); err != nil {
		f.problem("gives %s for %s: %v", s, sampleReference, err)
	}
	return n
}

// respell writes a reference in another alphabet, in such a way that two references never become
// the same.
func respell(s, form string) string {
	var b strings.Builder
	switch form {
	case "alnum": // z and two hexadecimal digits for what is no letter and no digit, and for z
		for i := range len(s) {
			c := s[i]
			if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c < 'z' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "z%02x", c)
			}
		}
	case "digits": // three for each byte
		for i := range len(s) {
			fmt.Fprintf(&b, "%03d", s[i])
		}
	case "uuid": // RFC 9562 §5.8: version 8, of the reference's SHA-256
		h := sha256.Sum256([]byte(s))
		h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
		x := hex.EncodeToString(h[:16])
		return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
	default:
		return s
	}
	return b.String()
}

// stamp writes a time in one of the forms of {time}, or in a layout of package time.
func stamp(t time.Time, form string) string {
	switch form {
	case "seconds":
		return strconv.FormatInt(t.Unix(), 10)
	case "millis":
		return strconv.FormatInt(t.UnixMilli(), 10)
	case "rfc1123":
		return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	case "rfc3339":
		return t.UTC().Format(time.RFC3339)
	}
	return t.Format(form)
}
