package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"ussdd/smpp/smpptest"
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
Exit codes: 0 all was well; 1 a screen was not as expected, the ESME did
something wrong, the two decoders of PDUs disagreed, or something failed; 2 the
command line or a script is wrong.

SCRIPTS are YAML. Every handset hangs up at the end of its steps:

    dialect: standard      # what the gateway speaks; unset: -dialect
    faults: [trailing-cr]  # strike all these handsets; unset: none
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
          - hangup: true         # or abort: true, when the network loses the handset
          - fault: refuse:0x45   # strikes this handset at its next occasion
          - dial: "*999#"
            fails: true          # the dialogue breaks: no screen comes
          - see: {end: true}     # a screen that comes unasked, also of a dialogue that the ESME opens

FAULTS, for -fault, faults: and fault:, each with its argument and, in brackets,
what that is if left out. Of a whole run, a script or a step: those of a step
strike once, all others each time.

`+indented(smpptest.FaultHelp()))
}

// indented puts four spaces before each line.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// plural is "1 screen", "2 screens".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
