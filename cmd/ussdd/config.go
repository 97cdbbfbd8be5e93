package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"ussdd/cmd/ussdd/control"
	"ussdd/cmd/ussdd/settings"
	"ussdd/session"
	"ussdd/store"
)

// prefix begins the name of every variable that the daemon reads.
const prefix = "USSDD"

// config is what the environment says. Every field is one variable; `ussdd
// -help` prints them from the tags.
type config struct {
	SMSCs    []string `envconfig:"SMSCS" desc:"names of the SMSCs to bind to, for example mtn,glo; each has its own USSDD_SMSC_<NAME>_* variables"`
	Database string   `desc:"sqlite:PATH, or mysql:DSN as go-sql-driver takes it, with several hosts of a Galera cluster as tcp(HOST:PORT,HOST:PORT), used in that order; unset: sqlite:ussdd.db in $STATE_DIRECTORY or the working directory"`

	SMSVia string `envconfig:"SMS_VIA" desc:"name of the SMSC that sends every message to a subscriber about a purchase; - for no messages; unset: the SMSC that the purchase came by"`

	Menus      string        `desc:"directory of menu YAML; unset: the built-in airtime service on *999#"`
	Vendors    string        `desc:"directory of vendor YAML with its routes.yaml; unset: the built-in vendors, which point at vendorsim"`
	VendorURLs settings.URLs `envconfig:"VENDOR_URLS" desc:"base URLs that override the vendors' own, for example mtn=https://sandbox.example/v1,glo=…; NAME.token=URL is where a vendor's tokens are asked for, up to the path"`
	SecretsDir string        `envconfig:"SECRETS_DIR" desc:"directory with one file for each secret that the vendors name; $CREDENTIALS_DIRECTORY is looked into first, USSDD_SECRET_<NAME> last; <name>-next is tried when the vendor refuses <name>; read again on SIGHUP"`

	Control   string `desc:"path of the socket that ussdctl's link, push, breaker, route, vendor products and provider float commands use, open to the daemon's user and group; - for none; unset: control.sock in $RUNTIME_DIRECTORY, or ussdd.sock in the working directory"`
	AdminAddr string `envconfig:"ADMIN_ADDR" default:"127.0.0.1:8686" desc:"host:port of /livez, /readyz and /metrics; - for none"`
	LogFormat string `envconfig:"LOG_FORMAT" default:"text" desc:"text or json"`
	LogLevel  string `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`

	StepBudget   time.Duration `envconfig:"STEP_BUDGET" default:"5s" desc:"how long a subscriber waits for an action before the processing screen is shown"`
	SessionIdle  time.Duration `envconfig:"SESSION_IDLE" default:"60s" desc:"a session without an answer for this long ends; longer than USSDD_STEP_BUDGET"`
	SessionMax   time.Duration `envconfig:"SESSION_MAX" default:"180s" desc:"a session ends when it is this old; at least USSDD_SESSION_IDLE"`
	MaxSessions  int           `envconfig:"MAX_SESSIONS" default:"100000" desc:"live sessions; a subscriber beyond them is told to try again"`
	StepLog      bool          `envconfig:"STEP_LOG" default:"true" desc:"false: sessions are stored without their steps, which ussdctl session show then lacks"`
	MaxActions   int           `envconfig:"MAX_ACTIONS" default:"1000" desc:"menu actions in flight; further ones are told that the service is unavailable"`
	MaxPurchases int           `envconfig:"MAX_PURCHASES" default:"500" desc:"purchases being vended at once; further ones are told that the service is unavailable"`
	VendTimeout  time.Duration `envconfig:"VEND_TIMEOUT" default:"20s" desc:"longest call to a vendor, beyond the vendor's own time-outs; a purchase goes on in the background; at least USSDD_STEP_BUDGET"`
	Lease        time.Duration `default:"15s" desc:"how long after a crash another process, or the next start, takes over unfinished purchases"`
	DrainTimeout time.Duration `envconfig:"DRAIN_TIMEOUT" default:"20s" desc:"how long SIGTERM waits for steps and purchases in flight"`

	WebhookAddr        string   `envconfig:"WEBHOOK_ADDR" default:"-" desc:"host:port, behind a proxy that does TLS, where payment providers report deposits: POST /paystack, /monnify, /flutterwave and, of its version 3, /flutterwave-v3. Each is listened to whose secret webhook-<provider> is there, and webhook-<provider>-next while that replaces it; webhook-flutterwave-v3-key, its API's secret key, is needed to verify reports. Vendors with a callback report sales at /vendor/<name>/<its secret>; - for none"`
	WebhookSources     sources  `envconfig:"WEBHOOK_SOURCES" desc:"networks that a provider reports from, for example paystack=52.31.139.75,paystack=52.49.173.169,monnify=35.242.133.146; unset: any"`
	WebhookProxies     networks `envconfig:"WEBHOOK_PROXIES" desc:"networks of our own proxies, for example 10.0.0.0/8, whose X-Forwarded-For is believed; unset: nobody's"`
	WebhookFlutterwave string   `envconfig:"WEBHOOK_FLUTTERWAVE" default:"https://api.flutterwave.com" desc:"base URL of the API that verifies the reports of Flutterwave's version 3"`

	LimitPurchase        naira    `envconfig:"LIMIT_PURCHASE" default:"0" desc:"naira of one purchase; 0: only what routes.yaml allows of each network"`
	LimitDay             naira    `envconfig:"LIMIT_DAY" default:"100000" desc:"naira that one subscriber pays for in a day, which begins at midnight in Lagos; what failed does not count; 0: no limit. The CBN allows N100,000 over USSD"`
	LimitRecipientDay    naira    `envconfig:"LIMIT_RECIPIENT_DAY" default:"0" desc:"naira that one number gets in a day, whoever pays; 0: no limit"`
	LimitVelocity        velocity `envconfig:"LIMIT_VELOCITY" default:"0" desc:"purchases that one subscriber begins in a time, failed ones too, for example 5/10m; 0: no limit"`
	LimitNetworkPurchase nairas   `envconfig:"LIMIT_NETWORK_PURCHASE" desc:"naira of one purchase by network, for example mtn=5000,glo=2000; 0: no limit of its own"`
	LimitNetworkDay      nairas   `envconfig:"LIMIT_NETWORK_DAY" desc:"naira that one subscriber pays for in a day by network, for example mtn=20000; 0: no limit of its own"`

	smscs []smscConfig
}

// problems collects everything that is wrong, so that the operator can mend it
// in one go.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// about says whether there is a problem with the variable.
func (p problems) about(variable string) bool {
	return slices.ContainsFunc(p, func(s string) bool { return strings.HasPrefix(s, variable+":") })
}

func (p *problems) addErr(what string, err error) {
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		p.add("%s: %s", what, line)
	}
}

// loadConfig reads the environment. What cannot be read is in the problems, and
// has its default or nothing in the config.
func loadConfig() (*config, problems) {
	var bad problems
	c := new(config)
	process(prefix, c, &bad)
	if c.Database == "" {
		c.Database = store.DefaultName(os.Getenv("STATE_DIRECTORY"))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad.add("USSDD_LOG_FORMAT: %q is neither text nor json", c.LogFormat)
	}
	if _, err := logLevel(c.LogLevel); err != nil {
		bad.add("USSDD_LOG_LEVEL: %q is none of debug, info, warn, error", c.LogLevel)
	}
	if c.Control == "" {
		c.Control = control.DefaultPath()
	}
	if c.Control != "-" {
		bad.addErr("USSDD_CONTROL", control.CheckPath(c.Control))
	}
	if c.AdminAddr == "" {
		bad.add("USSDD_ADMIN_ADDR: empty; use - for none")
	} else if c.AdminAddr != "-" {
		bad.addErr("USSDD_ADMIN_ADDR", checkAddr(c.AdminAddr, 0))
	}
	if c.WebhookAddr != "-" {
		bad.addErr("USSDD_WEBHOOK_ADDR", checkAddr(c.WebhookAddr, 0))
	}
	if u, err := url.Parse(c.WebhookFlutterwave); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		bad.add("USSDD_WEBHOOK_FLUTTERWAVE: %q is not a URL such as https://api.flutterwave.com", c.WebhookFlutterwave)
	}
	for _, dir := range []struct {
		name string
		path *string
	}{{"MENUS", &c.Menus}, {"VENDORS", &c.Vendors}, {"SECRETS_DIR", &c.SecretsDir}} {
		if err := checkDir(*dir.path); err != nil {
			bad.add("%s_%s: %v", prefix, dir.name, err)
			*dir.path = "" // so that the check of the rest does not trip over it
		}
	}
	c.checkTimes(&bad)
	for name, n := range map[string]int{"MAX_SESSIONS": c.MaxSessions, "MAX_ACTIONS": c.MaxActions, "MAX_PURCHASES": c.MaxPurchases} {
		if n <= 0 && !bad.about(prefix+"_"+name) {
			bad.add("USSDD_%s: %d is not positive", name, n)
		}
	}
	c.loadSMSCs(&bad)
	c.checkSMSVia(&bad)
	unknownVariables(c, &bad)
	slices.Sort(bad)
	return c, bad
}

// checkTimes checks the durations, each and against each other.
func (c *config) checkTimes(bad *problems) {
	for name, d := range map[string]time.Duration{"STEP_BUDGET": c.StepBudget, "SESSION_IDLE": c.SessionIdle,
		"SESSION_MAX": c.SessionMax, "DRAIN_TIMEOUT": c.DrainTimeout, "LEASE": c.Lease, "VEND_TIMEOUT": c.VendTimeout} {
		if d <= 0 && !bad.about(prefix+"_"+name) {
			bad.add("USSDD_%s: %v is not a positive duration", name, d)
		}
	}
	// What is not positive has been told, or could not be read.
	if c.StepBudget > 0 && c.SessionIdle > 0 && c.SessionIdle <= c.StepBudget {
		bad.add("USSDD_SESSION_IDLE: %v is not longer than USSDD_STEP_BUDGET, %v", c.SessionIdle, c.StepBudget)
	}
	if c.SessionMax > 0 && c.SessionMax < c.SessionIdle {
		bad.add("USSDD_SESSION_MAX: %v is shorter than USSDD_SESSION_IDLE, %v", c.SessionMax, c.SessionIdle)
	}
	if c.VendTimeout > 0 && c.VendTimeout < c.StepBudget {
		bad.add("USSDD_VEND_TIMEOUT: %v is shorter than USSDD_STEP_BUDGET, %v", c.VendTimeout, c.StepBudget)
	}
}

// checkAddr says what is wrong with host:port. A lowest port of 0 lets the
// kernel choose one.
func checkAddr(addr string, lowest uint64) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < lowest {
		return fmt.Errorf("port %q is not a number from %d to 65535", port, lowest)
	}
	return nil
}

// checkDir says what is wrong with a directory; without a name there is nothing
// to be wrong.
func checkDir(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: no such directory", path)
		}
		return fmt.Errorf("%s: %w", path, pathErr.Err)
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	return err
}

// closing is the part of the drain's time that unbinding may take, and writing
// what is left.
func (c *config) closing() time.Duration { return c.DrainTimeout / 8 }

// minPending is how many steps and ended sessions may at least wait for the store.
const minPending = 100_000

// engine is the limits of the session engine.
func (c *config) engine() session.Config {
	return session.Config{
		Budget: c.StepBudget, Idle: c.SessionIdle, MaxLength: c.SessionMax, MaxSessions: c.MaxSessions, MaxEffects: c.MaxActions, NoStepLog: !c.StepLog,
		MaxPending: max(minPending, c.MaxSessions), // all may end at once while the store is away
	}
}

// afterIdle is how long after the end of an idle session its last screen may still
// be answered, where the SMSC answers after the subscriber.
const afterIdle = 10 * time.Second

var smscName = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)

func smscPrefix(name string) string {
	return prefix + "_SMSC_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}

// loadSMSCs reads the variables of each SMSC that is named.
func (c *config) loadSMSCs(bad *problems) {
	named := make(map[string]bool) // by prefix: mtn and MTN would read the same variables
	for _, name := range c.SMSCs {
		name = strings.TrimSpace(name)
		switch {
		case name == "": // a comma too many
		case !smscName.MatchString(name):
			bad.add("USSDD_SMSCS: %q is not a name of letters, digits and -", name)
		case named[smscPrefix(name)]:
			bad.add("USSDD_SMSCS: %q is named twice", name)
		default:
			named[smscPrefix(name)] = true
			s := loadSMSC(name, time.Now(), bad)
			s.UnbindTimeout = min(s.UnbindTimeout, c.closing())
			if s.profile.AfterUser {
				switch {
				case s.ResponseTimeout == 0:
					s.ResponseTimeout = c.SessionIdle + afterIdle
				case s.ResponseTimeout < c.SessionIdle && !bad.about(smscPrefix(name)+"_RESPONSE_TIMEOUT"):
					bad.add("%s_RESPONSE_TIMEOUT: %v is shorter than USSDD_SESSION_IDLE, %v, and by the profile the SMSC responds only after the subscriber answered",
						smscPrefix(name), s.ResponseTimeout, c.SessionIdle)
				}
			}
			c.smscs = append(c.smscs, s)
		}
	}
	if len(c.smscs) == 0 && !bad.about(prefix+"_SMSCS") {
		bad.add("USSDD_SMSCS: no SMSC is named, so there is nothing to bind to")
	}
}

// texters are the SMSCs that messages to subscribers leave by; none if there are
// to be no messages, or no SMSC takes short messages.
func (c *config) texters() []smscConfig {
	return slices.DeleteFunc(slices.Clone(c.smscs), func(s smscConfig) bool {
		return c.SMSVia == "-" || s.profile.NoSMS || c.SMSVia != "" && s.name != c.SMSVia
	})
}

// checkSMSVia names an SMSC that cannot send the messages.
func (c *config) checkSMSVia(bad *problems) {
	if c.SMSVia == "" || c.SMSVia == "-" {
		return
	}
	i := slices.IndexFunc(c.smscs, func(s smscConfig) bool { return s.name == c.SMSVia })
	switch {
	case i < 0:
		bad.add("USSDD_SMS_VIA: %s is not in USSDD_SMSCS", c.SMSVia)
	case c.smscs[i].profile.NoSMS:
		bad.add("USSDD_SMS_VIA: by its profile, %s takes no short messages", c.SMSVia)
	}
}

// process fills spec from the environment, field by field, so that one bad
// value does not hide the next.
func process(prefix string, spec any, bad *problems) {
	v := reflect.ValueOf(spec).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		// With the whole name as the field's own, envconfig does not fall back to
		// a variable without the prefix.
		name := f
		name.Tag = reflect.StructTag(fmt.Sprintf(`envconfig:%q default:%q`, variable(prefix, f), f.Tag.Get("default")))
		one := reflect.New(reflect.StructOf([]reflect.StructField{name}))
		err := envconfig.Process("", one.Interface())
		if parse := (*envconfig.ParseError)(nil); errors.As(err, &parse) {
			bad.add("%s: %q is not %s", parse.KeyName, parse.Value, typeWords[f.Type])
			continue
		}
		if err != nil {
			bad.add("%s: %v", variable(prefix, f), err)
			continue
		}
		v.Field(i).Set(one.Elem().Field(0))
	}
}

// typeWords name the types of variables whose values can be misread.
var typeWords = map[reflect.Type]string{
	reflect.TypeFor[bool]():          "true or false",
	reflect.TypeFor[float64]():       "a number",
	reflect.TypeFor[int]():           "a whole number",
	reflect.TypeFor[time.Duration](): "a duration such as 500ms, 20s or 5m",
	reflect.TypeFor[settings.URLs](): "a list of name=URL, with commas between them",
	reflect.TypeFor[naira]():         "a whole number of naira, such as 5000",
	reflect.TypeFor[nairas]():        "a list of network=naira, with commas between them",
	reflect.TypeFor[velocity]():      "purchases/time, such as 5/10m",
	reflect.TypeFor[networks]():      "a list of networks, such as 10.0.0.0/8, with commas between them",
	reflect.TypeFor[sources]():       "a list of provider=network, with commas between them; providers are paystack, monnify, flutterwave and flutterwave-v3",
}

// variable is the name of a field's variable.
func variable(prefix string, f reflect.StructField) string {
	name := f.Tag.Get("envconfig")
	if name == "" {
		name = strings.ToUpper(f.Name)
	}
	return prefix + "_" + name
}

func variables(prefix string, spec any) []string {
	var names []string
	t := reflect.TypeOf(spec)
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			names = append(names, variable(prefix, f))
		}
	}
	return names
}

// testPrefix begins the variables that the project's tests are told things by.
const testPrefix = prefix + "_TEST_"

// unknownVariables reports what begins with USSDD_ and is no variable of ours:
// a mistyped name must not leave a default in force unseen.
func unknownVariables(c *config, bad *problems) {
	known := variables(prefix, config{})
	for _, s := range c.smscs {
		known = append(known, variables(smscPrefix(s.name), smscConfig{})...)
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix+"_") || strings.HasPrefix(name, settings.SecretPrefix) || strings.HasPrefix(name, testPrefix) ||
			slices.Contains(known, name) {
			continue
		}
		if smsc := c.strangeSMSC(name); smsc != "" {
			bad.add("%s: %s is not in USSDD_SMSCS", name, smsc)
			continue
		}
		bad.add("%s: no such variable; the nearest is %s", name, nearest(name, known))
	}
}

// strangeSMSC is the SMSC that an unknown variable seems to be about, if that is
// not one of ours.
func (c *config) strangeSMSC(variable string) string {
	rest, ok := strings.CutPrefix(variable, smscPrefix(""))
	if !ok {
		return ""
	}
	for _, ending := range variables("", smscConfig{}) {
		if smsc, ok := strings.CutSuffix(rest, ending); ok {
			return strings.ToLower(strings.ReplaceAll(smsc, "_", "-"))
		}
	}
	if slices.ContainsFunc(c.smscs, func(s smscConfig) bool { return strings.HasPrefix(variable, smscPrefix(s.name)+"_") }) {
		return ""
	}
	smsc, _, _ := strings.Cut(rest, "_")
	return strings.ToLower(smsc)
}

// nearest is the known name with the fewest edits from name.
func nearest(name string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return edits(name, a) - edits(name, b) })
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// usage prints every variable.
func usage(w io.Writer) {
	fmt.Fprint(w, `ussdd sells airtime over USSD: it binds to SMSCs by SMPP, runs menus, and calls vending APIs.

usage: ussdd            run the daemon
       ussdd check      validate everything without binding, list all problems
       ussdd -help      this text
       ussdd -version   the version

SIGTERM drains and stops, SIGHUP reads the menus, vendors and secrets again.
Exit codes: 0 stopped, or nothing is wrong; 1 failed while running; 2 the
configuration or the command line is wrong, and whenever check finds a problem.

Everything is set by environment variables:

`)
	const list = "{{range .}}{{usage_key .}}  {{usage_type .}}{{with usage_default .}}, default {{.}}{{end}}\n" +
		"    {{usage_description .}}\n{{end}}"
	for _, part := range []struct {
		prefix string
		spec   any
	}{{prefix, new(config)}, {prefix + "_SMSC_<NAME>", new(smscConfig)}} {
		var text strings.Builder
		if err := envconfig.Usagef(part.prefix, part.spec, &text, list); err != nil {
			fmt.Fprintln(w, err)
		}
		// envconfig describes a map by its Go type, whatever reads it.
		fmt.Fprintln(w, strings.NewReplacer("list of String:String pairs", "list of name=URL", "list of String:naira pairs", "list of network=naira",
			"list of String:Comma-separated list of Prefix pairs", "list of provider=network", "list of Prefix", "list of network",
			"  naira,", "  Naira,", "  velocity,", "  Purchases/Duration,").Replace(text.String()))
	}
	fmt.Fprintln(w, settings.SecretPrefix+"<NAME>  String\n    the secret <name> of a vendor or a webhook, if it is in no file")
}

// plural is "1 problem", "2 problems".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
