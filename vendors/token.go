package vendors

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// tokenAuth says how a bearer token is got, as by OAuth2 client credentials.
type tokenAuth struct {
	url     string // "" = the vendor's own base
	call    operation
	token   path
	expires path          // seconds of life; nil = it lives until it is refused
	early   time.Duration // a token is renewed so long before its end
}

const defaultEarly = time.Minute

// errSecret says that who gives tokens does not take the secrets that it was asked with.
var errSecret = errors.New("no token for these secrets")

// tokens holds a vendor's token. Whoever needs one while it is being fetched waits for that one
// call. It is safe for concurrent use.
type tokens struct {
	plan  *tokenAuth
	keys  []*keys
	gate  *gate
	group singleflight.Group

	mu    sync.Mutex
	value secret    // zero = there is none
	until time.Time // zero = until it is refused
	of    *keys     // the secrets that it was got by
	last  secret    // the token that calls had last, refused or not
}

// get gives a token that is good by its own account.
func (t *tokens) get(ctx context.Context, v *vendor, k *keys) (secret, error) {
	if s, ok := t.current(k); ok {
		return s, nil
	}
	// The fetch is for everybody who waits: it ends with the vendor's time-out, not with the call
	// that happened to need it first.
	done := t.group.DoChan(fmt.Sprintf("%p", k), func() (any, error) {
		if s, ok := t.current(k); ok {
			return s, nil
		}
		return t.fetch(context.WithoutCancel(ctx), v, k)
	})
	select {
	case r := <-done:
		s, _ := r.Val.(secret)
		return s, r.Err
	case <-ctx.Done():
		return secret{}, context.Cause(ctx)
	}
}

func (t *tokens) current(k *keys) (secret, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value.value == nil || t.of != k || !t.until.IsZero() && !time.Now().Before(t.until) {
		return secret{}, false
	}
	return t.value, true
}

// drop forgets a token that was refused, unless another has taken its place.
func (t *tokens) drop(s secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == s {
		t.value = secret{}
	}
}

// shown gives the token that an answer could repeat.
func (t *tokens) shown() secret {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// fetch asks for a token. Its errors repeat nothing of the answer.
func (t *tokens) fetch(ctx context.Context, v *vendor, k *keys) (secret, error) {
	var got secret
	err := t.gate.pass(ctx, nil, func() error {
		req, body, err := v.request(&t.plan.call, &values{}, k, t.plan.url)
		if err != nil {
			return err
		}
		a := v.do(ctx, req, body)
		switch {
		case a.err != nil:
			return a.err
		case a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
			return fmt.Errorf("HTTP %d: %w", a.status, errSecret) // RFC 6749 §5.2 says 400 or 401
		case a.status != http.StatusOK && a.status != http.StatusCreated:
			return fmt.Errorf("HTTP %d", a.status)
		}
		s := text([]path{t.plan.token}, a.doc)
		if s == "" || !headerText(s) {
			return errors.New("no token in the answer")
		}
		life, err := t.plan.life(a.doc)
		if err != nil {
			return err
		}
		got = newSecret(s)
		t.keep(got, k, life)
		return nil
	})
	return got, err
}

func (t *tokens) keep(s secret, k *keys, life time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.last, t.of, t.until = s, s, k, time.Time{}
	if life > 0 {
		t.until = time.Now().Add(life - min(t.plan.early, life/10))
	}
}

// life reads how long a token is good for.
func (t *tokenAuth) life(doc any) (time.Duration, error) {
	if t.expires == nil {
		return 0, nil
	}
	n, ok := parseKobo(text([]path{t.expires}, doc)) // a whole number
	if !ok || n == 0 {
		return 0, errors.New("no life of the token in the answer")
	}
	return time.Duration(min(n, 365*24*3600)) * time.Second, nil
}

// newTokens gives a vendor its tokens, or lets it keep those of the set before when nothing that
// they depend on has changed.
func newTokens(v *vendor, opt Options) *tokens {
	a := v.plan.auth.token
	if a == nil {
		return nil
	}
	if opt.Previous != nil {
		if old := opt.Previous.vendors[v.name]; old != nil && old.tokens != nil && reflect.DeepEqual(old.plan.auth, v.plan.auth) &&
			old.plan.base == v.plan.base && sameKeys(old.keys, v.keys) {
			v.keys = old.keys // tokens remember by which they were got
			return old.tokens
		}
	}
	return &tokens{plan: a, keys: v.keys, gate: newGate(v.name, "", OpToken, v.plan, opt)}
}

func sameKeys(a, b []*keys) bool {
	return len(a) == len(b) && reflect.DeepEqual(a, b)
}

func readTokenAuth(v value) *tokenAuth {
	t := &tokenAuth{early: defaultEarly}
	o, ok := v.object("url", "path", "headers", "json", "form", "params", "basic", "token", "expires", "early")
	if !ok {
		return t
	}
	t.call.method = "POST"
	names := []string{"secret"}
	_, isURL := o.has("url")
	_, isPath := o.has("path")
	switch {
	case isURL && isPath:
		o.fields["path"].problem("url is given, too: choose one")
	case isURL:
		s, _ := o.fields["url"].text()
		base, ok := baseURL(s)
		u, err := url.Parse(base)
		if !ok || err != nil {
			o.fields["url"].problem("must be an http or https URL without user, query and fragment")
		} else {
			t.url = strings.TrimSuffix(base, u.EscapedPath())
			t.call.path = template{{text: u.EscapedPath()}}
		}
	default:
		if f, ok := o.need("path"); ok {
			t.call.path = readPath(f, names)
		}
	}
	if f, ok := o.has("params"); ok {
		t.call.params = readPairs(f, names)
	}
	if f, ok := o.has("headers"); ok {
		t.call.headers = readPairsOf(f, names, true)
	}
	if f, ok := o.has("basic"); ok {
		t.call.auth = []credential{readCredential(f, "basic")}
	}
	readBody(o, &t.call, names)
	if f, ok := o.need("token"); ok {
		if s, ok := f.filled(); ok {
			t.token = readPathTo(f, s)
		}
	}
	if f, ok := o.has("expires"); ok {
		if s, ok := f.filled(); ok {
			t.expires = readPathTo(f, s)
		}
	}
	if f, ok := o.has("early"); ok {
		t.early, _ = f.duration(0, time.Hour)
	}
	return t
}
