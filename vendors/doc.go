// Package vendors calls vending APIs that are described by YAML files, and says what became of
// each call in terms of money.
//
// The life of one vend:
//
//  1. Load reads a directory of files into a Set: one file per vendor, which says how its API is
//     asked and how its answers are to be read, and routes.yaml, which says which vendors deliver
//     for which network and in which order. Everything that is wrong with them comes back as
//     Problems, by file and line. Builtin holds the files that ship with the daemon.
//  2. Set.Route gives the Endpoints of a network: a vendor for that network. Whoever sells walks
//     this list; an endpoint does not know the next one, and nothing here calls twice.
//  3. Endpoint.Vend renders the request. Mappings are trees whose placeholders are encoded for the
//     place where they stand, be it JSON, a path segment, a query, a form or a header; no value
//     can become more than a value. A request that cannot be rendered is declined unsent.
//  4. The endpoint's gate lets the call pass: a limit of calls in flight, then a circuit breaker.
//     What it refuses is Unavailable, and no byte has left.
//  5. One HTTP call is made, never repeated and never redirected. When no connection came about,
//     the outcome is NotSent. As soon as the first header has been written, a failure of any kind
//     is Ambiguous: the vendor may have delivered.
//  6. The vendor's ordered rules read the answer, status and body. The first one that matches says
//     delivered, declined or pending. An answer that no rule knows, that is not JSON, or that is
//     not whole is Ambiguous too: nothing but the vendor's own words proves that a sale has failed.
//  7. An Ambiguous vend is settled by Endpoint.Query, by reference, with rules of its own.
//     Endpoint.NotFoundFinal says when "no such reference" can be believed.
//
// Breakers count what is the vendor's fault: refused connections, time-outs, answers that cannot
// be read, 5xx, a vendor out of service. Declines for a bad number or an amount, an empty float
// and duplicates are excluded. Vends and queries have breakers of their own, so that a vendor that
// sells no more can still be asked about what it has sold.
//
// # Files
//
// A vendor's file, with every key:
//
//	vendor: acme                          # its name: small letters, digits, dashes
//	base: https://api.acme.example/v1
//	auth:                                 # or: none
//	  header: {name: X-Key, secret: acme-key}   # or bearer: {secret}, or basic: {user, secret}
//	  optional: true                      # left out while there is no such secret
//	timeouts: {connect: 1s, total: 12s}   # default: from Options.Budget
//	max_body: 65536                       # bytes of an answer; this is the default
//	max_in_flight: 256                    # calls at a time; this is the default
//	networks: {mtn: {code: MTN}}          # the networks it serves, and its own code for each
//	vend:
//	  method: POST                        # POST, PUT or GET
//	  path: /topups/{reference}
//	  params: {country: NG}               # of the URL
//	  headers: {X-Reference: "{reference}"}
//	  json: {to: "{phone|intl}", kobo: "{amount|kobo|number}"}   # or form: {to: "{phone|local}"}
//	  rules:                              # the first that matches decides; none: pending
//	    - {status: 200, json: {state: [DONE, PAID]}, then: delivered}
//	    - {status: 4xx, json: {error.code: E7}, then: declined, reason: bad_number, final: true}
//	  fields: {vendor_ref: id, cost: {path: price, unit: naira}, message: [error.text, note]}
//	query:                                # as vend; rules say delivered, failed, pending, not_found
//	  method: GET
//	  path: /topups
//	  params: {ref: "{reference}"}
//	  rules:
//	    - {json: {items.0.state: DONE}, then: delivered}
//	    - {json: {items: {empty: true}}, then: not_found}
//	not_found: {grace: 30s, times: 3}     # believed so long after the vend's end; left out: never
//
// Placeholders are {phone|local} 08031234567, {phone|intl} 2348031234567, {phone|plus}
// +2348031234567, {amount|naira} 100 or 99.50, {amount|decimal} 100.00, {amount|kobo} 10000,
// {reference}, {network} for the vendor's own code, and {vendor_ref} in queries. A filter
// |number at the end makes a value that stands alone in JSON a number. Braces are written twice to
// be braces. A vend must carry {phone}, {amount} and {reference} somewhere, a query {reference}.
//
// All conditions of a rule must hold. Under json, paths have dots, and indexes into lists; scalars
// are compared as text, so that 200 and "200" are equal, null equals null only, and a path that
// leads nowhere matches nothing. Load refuses a rule that would settle a sale by a bare status; only
// 400, 401, 403, 404, 405, 413, 415 and 422 can decline by themselves.
//
// routes.yaml:
//
//	networks:
//	  mtn: {name: MTN, min: N50, max: "N50,000", route: [acme, other]}
//
// # Goroutines
//
// The package starts none of its own that outlive a call; net/http keeps two per open connection,
// until 30 s after its last call or Set.CloseIdleConnections. Sets and endpoints are immutable but
// for their breakers, and safe for concurrent use.
package vendors
