package batch

import (
	"context"
	"errors"
	"sync"
)

// intents publishes heads of the log that cover the intents of submissions which are about to
// leave. A copy of the store from before such an intent, which would submit again, is then
// seen to be older than what was published. Those that come while a head is being published
// share the next one.
type intents struct {
	heads *Publisher
	run   int64

	mu      sync.Mutex
	waiting []chan error
	busy    bool
}

// cover returns when a head that covers all that is on disk by now was published.
func (i *intents) cover(ctx context.Context) error {
	done := make(chan error, 1)
	i.mu.Lock()
	i.waiting = append(i.waiting, done)
	if !i.busy {
		i.busy = true
		go i.publish(context.WithoutCancel(ctx))
	}
	i.mu.Unlock()
	return <-done
}

func (i *intents) publish(ctx context.Context) {
	for {
		i.mu.Lock()
		group := i.waiting
		i.waiting, i.busy = nil, len(group) > 0
		i.mu.Unlock()
		if len(group) == 0 {
			return
		}
		err := i.heads.Store.TellIntents(ctx, i.run, int64(len(group)))
		if err == nil {
			_, err = i.heads.Publish(ctx)
			if i.heads.HeadFile == "" && errors.Is(err, ErrHeads) {
				// Only the copy beside the report is wanted, and the report's place is no promise:
				// that it is gone is told at the end of the run.
				err = nil
			}
		}
		for _, done := range group {
			done <- err
		}
	}
}
