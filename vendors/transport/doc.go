// Package transport is the only way out to a vendor: every request, token and preview
// goes through one Transport per configured account.
//
// What it keeps:
//   - The rate limit, at the last instant before a request is written to its connection
//     (see Limiter): what net/http does on its own counts as well.
//   - What a request rests on is asked again at that instant (vendors.AtDeparture): a call may
//     wait long for its turn.
//   - Nothing is sent twice. net/http repeats some requests silently when a connection
//     turns out to be dead; here it may only where nothing had been written.
//   - Once a request has left, only the configured timeout ends it, to the last byte of
//     its answer: not the end of the caller's context, so that the outcome is known
//     wherever that is possible.
//   - Certainty is never claimed: ErrNotSent stands only where no byte of the request can
//     have reached anybody. Everything after that is ErrUnavailable or ErrUnreadable.
//   - https only, but to a loopback address; TLS 1.2 or later; redirects are not followed,
//     so no credential reaches a second host; answers are bounded in size and time.
//   - No URL, query, header or body appears in an error or a log line.
//
// What it does not do: it retries nothing, keeps nothing, knows no vendor's paths, and
// does not judge an answer: any complete one but a redirect is returned as it is. Fail and
// DecodeJSON are the usual judgement, for adapters to use.
package transport
