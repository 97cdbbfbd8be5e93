// Package menus holds USSD services as data: it loads them from YAML, tells
// every mistake in them with file and line, and steps subscribers through them.
//
// # The life of one session
//
//  1. [Load] reads a directory of services once, checks them against the actions
//     that the program can perform ([ActionSpec]) and against every [Medium] that
//     they will be shown on, and compiles them. A catalogue that
//     loads has no screen without a way out, no variable that may be unset where
//     it is shown, no text that is too long in its worst case, and no way to a
//     purchase but from a menu that shows its amount and its recipient.
//  2. A subscriber dials. [Catalogue.Match] finds the service, and
//     [Service.Step] with [Start] gives the first [Turn]: a text to show, and the
//     [State] to keep until the subscriber answers.
//  3. The subscriber answers. Step with [Answer] reads it on the screen that the
//     state is at: an option, an input, or a mistake, which shows the same screen
//     again under its error line, and ends the session when it happens too often.
//  4. A screen of kind action shows nothing. Its turn has an [Effect] instead of a
//     text: the caller performs it and brings the outcome with [Result], which
//     gives the next turn. Should the process die between the two, any answer to
//     the stored state gives the same effect again, with the same Visit.
//  5. A turn with End set is the last one. Its text has still to be shown.
//
// Between two turns the state can be stored as JSON. It belongs to one version of
// one service ([Service.Version]); a service that has changed since is compiled
// again from its stored source with [Compile].
//
// # What a step may do
//
// Step is pure and total. It reads no clock, does no I/O and starts no goroutine;
// the same state and input give the same turn. Whatever state it is given, one
// decoded from a damaged record included, it gives a turn that can be shown. The
// text of a turn is folded to the medium's alphabet and never longer than its
// limit: lists go over to another page, texts among the values are shortened, and
// a screen that does not fit even so is replaced by a sentence that ends the
// session. Amounts, numbers and dates are never shortened.
//
// A [Service] never changes once compiled, so any number of goroutines may step
// through it. A [State] is a value: a step returns another one and leaves the old
// one as it was.
//
// # A service
//
// One file is one service. Screens have names and one of four kinds:
//
//	menu     a text and options; may show a list, page by page
//	input    a text, a typed answer (msisdn, money, digits, text), and options
//	action   something that the program does; one branch per outcome
//	end      a last text
//
// Options and inputs set variables, actions take and give them, texts show them as
// {name} or {name|filter}. The filters are local (a number as 0803…), naira and
// date; there are no expressions. "@back" returns to the screen before, with the
// variables as they were there; "@home" starts again with nothing set. After an
// action that is Final there is no way back to what led to it.
//
// A set value that reads as an amount (N50, N1,000) is money, one that is a
// placeholder copies a variable, and any other is text. {caller} is always set.
// airtime.yaml, which [Builtin] serves, uses all of this.
package menus
