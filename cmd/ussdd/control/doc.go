// Package control is ussdd's control socket: HTTP over a unix socket by which
// operators look after its links and its vendors.
//
//	GET  /links                 every link with its binds
//	GET  /links/NAME            one of them
//	POST /links/NAME/up         bind and serve; likewise down (unbind and stay so)
//	                            and drain (serve live dialogues, refuse new ones)
//	GET  /links/NAME/trace      the link's PDUs as they pass, one JSON object a line;
//	                            ?msisdn=2348031234567 for one subscriber, ?inputs=true
//	                            to see what subscribers type
//	POST /push                  open a menu on a handset, or tell it something
//	GET  /breakers              every breaker of the vendors in force
//	POST /breakers              force one, or all of a vendor, open or closed for a time,
//	                            or let them decide again; kept in the audit log, too
//	GET  /route                 which vendors would be tried for a sale, with their breakers
//	                            and floats: ?network=mtn&amount=50000 (kobo), and product,
//	                            key (the purchase's) and at (a time of RFC 3339)
//	GET  /products              what a vendor sells for a network, as it told not long ago or
//	                            tells now: ?vendor=acme&network=mtn
//
// Answers are JSON, errors application/problem+json (RFC 9457). Who may open the
// socket may do all of it: its file is for the daemon's user and group. What
// changes something, and each trace, is logged with the caller's user and
// process, which the kernel tells.
//
// [Listen] and [Server] are the daemon's side, [Client] is ussdctl's.
package control
