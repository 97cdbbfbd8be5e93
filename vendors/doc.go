// Package vendors calls vending APIs that are described by YAML files, and says what became of
// each call in terms of money.
//
// The life of one vend:
//
//  1. Load reads a directory of files into a Set: one file per vendor, which says how its API is
//     asked and how its answers are to be read, and routes.yaml, which says which vendors deliver
//     for which network and in which order. Everything that is wrong with them comes back as
//     Problems, by file and line. Builtin holds the files that ship with the daemon.
//  2. Set.Explain gives the Endpoints to try for a sale: each is a vendor for a network, in the
//     order of the route, and says which are not to be tried and why: their conditions do not hold,
//     or they are known to fail. Whoever sells walks this list; an endpoint does not know the next
//     one.
//  3. Endpoint.Reference makes the attempt's reference as the vendor wants it. Whoever sells keeps
//     it before anything is sent, and asks by it ever after.
//  4. Endpoint.Vend renders the request. Mappings are trees whose placeholders are encoded for the
//     place where they stand, be it JSON, a path segment, a query, a form or a header; no value
//     can become more than a value. A request that cannot be rendered is declined unsent. One whose
//     reference is in flight already is not sent either: its outcome is open.
//  5. The endpoint's gate lets the call pass: a limit of calls in flight, the vendor's rate, then a
//     circuit breaker, or what an operator has ordered in its place. What it refuses is
//     Unavailable, and no byte has left.
//  6. The request is given credentials: fixed headers, a token that all callers share, or a
//     signature.
//  7. One HTTP call is made, never redirected. When no connection came about, the outcome is
//     NotSent, and the vendor's file may allow another try. As soon as the first header has been
//     written, a failure of any kind is Ambiguous: the vendor may have delivered. A call is sent a
//     second time for one cause alone: that the vendor, in words which its file names, has refused
//     our credentials.
//  8. The vendor's ordered rules read the answer, status, headers and body. The first one that
//     matches says delivered, declined or pending. An answer that no rule knows, that is not JSON or
//     has a key twice, or that is not whole is Ambiguous too: nothing but the vendor's own words
//     proves that a sale has failed.
//  9. An Ambiguous vend is settled by Endpoint.Query, with rules of its own, as often as
//     Endpoint.QueryPlan says. Endpoint.NotFoundFinal says when "no such reference" can be believed.
//     Set.Callback tells which sale a vendor's own report is about, so that it is asked at once.
//
// A delivery's cost of more than twice its amount, or commission of more than the amount, is taken for a
// mistake of units: it counts as not told, and Result.Detail says so.
//
// Set.Balance and Endpoint.Products ask for what does not change by being asked for; answers are
// kept for a stated time. Floats are also reckoned from what answers to vends say.
//
// Endpoint.Preview and Endpoint.Judge show a call, and what an answer would mean, and send nothing.
//
// Breakers count what is the vendor's fault: refused connections, time-outs, answers that cannot
// be read, 5xx, a vendor out of service. Declines for a bad number or an amount, an empty float
// and duplicates are excluded. Vends, queries, look-ups and tokens have breakers of their own, so that
// a vendor that sells no more can still be asked about what it has sold. Set.Override forces
// breakers open or closed, for a reason and a time.
//
// # Files
//
// A vendor's file, with every key:
//
//	vendor: acme                          # its name: small letters, digits, dashes
//	base: https://api.acme.example/v1
//	auth:                                 # or: none
//	  header: {name: X-Key, secret: acme-key}   # or one of those below
//	  optional: true                      # left out while there is no such secret
//	  refused:                            # answers to wrong credentials: one more try, with a new
//	    - {status: 401, json: {code: BAD_TOKEN}}   # token, or with the secret acme-key-next
//	timeouts: {connect: 1s, tls: 1s, answer: 10s, total: 12s}   # default: from Options.Budget
//	max_body: 65536                       # bytes of an answer; this is the default
//	max_in_flight: 256                    # calls at a time; this is the default
//	rate: {calls: 10, per: 1s, burst: 5, wait: 200ms}   # of all calls together but those for tokens
//	gap: 30s                              # between two vends to one number on one network
//	retries: 1                            # of a vend that was not sent; default 0
//	proxy: http://10.0.0.1:3128
//	source: 10.0.0.7                      # our address, as the vendor has it on its list
//	reference:                            # how references are made; default: as they are
//	  make: "{time|200601021504}{reference|alnum}"
//	  pattern: "[0-9]{12}[0-9A-Za-z]+"    # of the whole reference
//	  zone: "+01:00"                      # of {time}
//	networks:                             # those it serves, and what it calls them
//	  mtn: {code: MTN, item: AT099, products: {data-1gb: M1GB}}
//	vend:
//	  method: POST                        # POST, PUT, PATCH or GET
//	  path: /topups/{reference}
//	  params: {country: NG}               # of the URL
//	  headers: {X-Reference: "{reference}"}
//	  json: {to: "{phone|intl}", kobo: "{amount|kobo|number}"}   # or form: {to: "{phone|local}"}
//	  accepts_only: true                  # no answer to a vend says delivered: only queries do
//	  rules:                              # the first that matches decides; none: pending
//	    - {status: 200, json: {state: [DONE, PAID]}, then: delivered}
//	    - {status: 4xx, json: {error.code: E7}, then: declined, reason: bad_number, final: true}
//	    - {headers: {X-State: queued}, then: pending}
//	  fields: {vendor_ref: id, message: [error.text, note], token: meter_token,
//	    cost: {path: price, unit: naira}, commission: {path: fee, unit: kobo},
//	    balance: {path: wallet, unit: naira, currency: NGN}}   # "NGN 1,000.00"
//	query:                                # as vend, but for fields.balance; rules say
//	                                      # delivered, failed, pending, not_found
//	  method: GET
//	  path: /topups
//	  params: {ref: "{reference}"}
//	  after: [2s, 5s, 10s, 1m]            # waits before queries; the last one repeats until
//	  max_age: 23h                        # the vendor no longer knows
//	  rules:
//	    - {json: {items.0.state: DONE, items.0.ref: "{reference}"}, then: delivered}
//	    - {json: {items: {empty: true}}, then: not_found}
//	not_found: {grace: 30s, times: 3}     # believed so long after the vend's end; left out: never
//	callback:                             # the vendor's own report of a sale makes us ask, no more
//	  secret: acme-callback               # the end of its address here, /vendor/acme/SECRET
//	  reference: {json: data.ref}         # ours; {form: ref} of a form, {param: ref} of the address's
//	                                      # query; of several the first that is there counts. Or
//	                                      # vendor_ref: in place of reference:, its own
//	  answer: '{"response":"success"}'    # that it wants; default {}
//	balance:                              # as vend, without placeholders; rules say known
//	  method: GET
//	  path: /balance
//	  life: 5m                            # of an answer; then it is asked for again; from 10s to 1h
//	  low: "N100,000"                     # below it, operators are to be warned
//	  rules: [{status: 200, json: {ok: true}, then: known}]
//	  fields: {balance: {path: kobo, unit: kobo}}
//	products:                             # as balance, with {network}
//	  method: GET
//	  path: /products
//	  life: 5m                            # of an answer
//	  rules: [{status: 200, then: known}]
//	  items: data                         # the list, and in each of its items:
//	  id: code
//	  name: title
//	  price: {path: price, unit: naira}
//
// The other kinds of auth:
//
//	headers: {api-key: acme-key, secret-key: {secret: acme-other, methods: [POST]}}
//	bearer: {secret: acme-key}
//	basic: {user: shop, secret: acme-key}     # or user_secret: in place of user:
//	token:                                    # OAuth2 client credentials and the like, by POST
//	  url: https://auth.acme.example/token    # or path: /token, at the base
//	  json: {client_id: "{secret.acme-id}", client_secret: "{secret.acme-key}", audience: x}
//	  token: access_token                     # or form: in place of json:; basic: and headers:, too
//	  expires: expires_in                     # seconds; left out: until it is refused
//	  early: 60s                              # renewed so long before; this is the default
//	  # who answers 400, 401 or 403 is asked once more, with acme-key-next
//	sign:                                     # alone, or beside one of the others
//	  algorithm: hmac-sha256                  # or -sha1, -sha512; or sha1, sha256, sha512 alone
//	  secret: acme-key                        # of an HMAC
//	  text: "{method}\n{path}\n{query}\n{url|escaped}\n{time|seconds}\n{nonce}\n{body|sha256-hex}"
//	  encoding: hex                           # or HEX or base64
//	  headers: {Authorization: "Acme {secret.acme-id}:{signature}", X-Time: "{time|seconds}"}
//
// Placeholders are {phone|local} 08031234567, {phone|national} 8031234567, {phone|intl}
// 2348031234567, {phone|plus} +2348031234567, {amount|naira} 100 or 99.50, {amount|decimal} 100.00,
// {amount|kobo} 10000, {reference}, {network} for the vendor's own code, {network.item} for what else
// the file says of each network, {product} for the vendor's code of what is sold, airtime if nothing
// else is asked for, {secret.NAME}, and {vendor_ref} in queries. {reference|alnum} has letters and
// digits only, {reference|digits} digits, {reference|uuid} is a UUID; all of them differ where
// references do. Times are seconds, millis, rfc1123, rfc3339 or a layout of package time like
// 200601021504. A filter |number at the end makes a value that stands alone in JSON a number. Braces
// are written twice to be braces. A form's field that is no text is sent as JSON. A vend must carry {phone}, {amount} and
// {reference} somewhere, a query {reference} or {vendor_ref}.
//
// All conditions of a rule must hold. Under json, paths have dots, and indexes into lists, and $ is
// the whole; scalars are compared as text, so that 200 and "200" are equal, null equals null only,
// and a path that leads nowhere matches nothing. In place of values a condition can be {empty: true},
// {matches: "regular expression"} of any part of the text, but for what has ^ and $, {not: [values]},
// {present: true} or {missing: true}. Load refuses a rule that would settle a sale by a bare status,
// or only by what is not there, or by our own words repeated; that something is empty or null proves
// no more than not_found. Only 400, 401, 403, 404, 405, 413, 415 and 422 can decline by themselves.
//
// routes.yaml:
//
//	networks:
//	  mtn: {name: MTN, min: N50, max: "N50,000", route: [acme, other]}
//	  glo:
//	    name: Glo
//	    min: N50
//	    max: "N50,000"
//	    route:
//	      - [{vendor: acme, weight: 3}, {vendor: other}]   # either first, three times in four acme
//	      - {vendor: third, min: N100, max: "N5,000", hours: 08:00-20:00, products: [airtime]}
//	      - {vendor: fourth, off: "they move house"}       # or off: {reason, from, until}
//
// Hours are Lagos's. A vendor that can only be asked by {vendor_ref} must be the last of a route.
//
// # Goroutines
//
// A token and a look-up are fetched by a goroutine that may outlive the calls that wait for it, by
// no more than the vendor's total time-out; nothing else does. net/http keeps two per open
// connection, until 30 s after its last call or Set.CloseIdleConnections. An override keeps a timer.
// Sets and endpoints are immutable but for breakers, tokens, caches and what is remembered of a
// vendor, and safe for concurrent use.
package vendors
