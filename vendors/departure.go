package vendors

import "context"

// departureKey is the key of a context's function of AtDeparture.
type departureKey struct{}

// AtDeparture returns a context under which a request, or a message, asks may at the moment
// when its turn has come to leave: an error keeps it here, with kind ErrNotSent and that
// cause, and costs nothing of the rate limit. A call waits for its turn for as long as the
// rate demands; what it rests on may be too old by then. may must not block. Requests for
// credentials do not ask.
func AtDeparture(ctx context.Context, may func() error) context.Context {
	return context.WithValue(ctx, departureKey{}, may)
}

// Departure returns the function of AtDeparture, or nil.
func Departure(ctx context.Context) func() error {
	may, _ := ctx.Value(departureKey{}).(func() error)
	return may
}
