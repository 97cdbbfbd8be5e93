package main

import (
	"flag"
	"fmt"
	"io"
)

// help prints all there is to know.
func help(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, `smscsim is an SMSC with subscribers, to try an ESME out: it accepts binds over
SMPP 3.4 and plays handsets that hold USSD dialogues with whoever is bound.

usage: smscsim [flags]                  serve until SIGTERM or SIGINT
       smscsim -script FILE [flags]     play dialogues and check the screens
       smscsim -phone [flags]           be a handset on the terminal, or on a pipe

`)
	flags.SetOutput(w)
	flags.PrintDefaults()
	fmt.Fprint(w, `
Exit codes: 0 all was well; 1 a screen was not as expected, the two decoders of
PDUs disagreed, or something failed; 2 the command line or a script is wrong.

SCRIPTS are YAML. Every handset hangs up at the end of its steps:

    service: "*999#"       # whom begins are addressed to; unset: from what is dialled
    parallel: true         # all handsets at once; unset: one after another
    handsets:
      - name: Amina looks at her balance
        msisdn: "2348031234567"
        steps:
          - dial: "*999#"
            see: {contains: [Welcome, "2. Check Balance"], end: false, max: 160}
          - send: "2"
            see: "*Balance*"     # * is any text; or exact:, matches: with a regexp
          - repeat: {send: "1", until: {contains: Successful}, times: 20, every: 500ms}
          - call: {method: POST, url: "http://{control}/reset", status: 200}   # -set control=…
          - hangup: true
          - see: {end: true}     # a screen that comes unasked
`)
}

// plural is "1 screen", "2 screens".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
