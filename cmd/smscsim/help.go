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
       smscsim -load LOAD [flags]       keep an ESME busy and measure it

`)
	flags.SetOutput(w)
	flags.PrintDefaults()
	fmt.Fprint(w, `
Exit codes: 0 all was well; 1 a screen was not as expected, the ESME did
something wrong, the two decoders of PDUs disagreed, or something failed; 2 the
command line or a script is wrong.

LOAD is key=value pairs with commas between them:

    dialogues=1000   subscribers, each in one dialogue at any time; 1
    think=2s         closed loop: from a screen to the next input; 0s
    rate=5000        open loop: inputs per second of all together, each subscriber's at fixed times,
                     whatever the ESME does; 0: closed loop
    ramp=10s         closed loop: the first dials are spread over it; think's value
    warmup=2s        from the first dial until anything is measured; 1s
    duration=10s     of measuring; 10s, or until steps
    steps=100000     ends the measuring sooner
    timeout=10s      a screen that takes longer is an error; 10s
    binds=1          connections to wait for
    walk=*999#/4/0/0 what each subscriber types, again and again; the screen after the last must end the
                     dialogue. Unset: through the built-in airtime menu and out, buying nothing

Times are from a deliver_sm's writing to its submit_sm's reading; in an open loop an input that was due
before the last screen had come counts from when it was due. Every screen is checked by its session and
operation, and without walk by its text. Errors make the exit code 1.

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
          - sms: {contains: Ref}  # the next short message; as see:

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
