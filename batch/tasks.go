package batch

import (
	"context"
	"log/slog"
	"time"

	"expunge/store"
)

// Tasks are the tasks of a store, with what is known of the vendors that they are at: what
// is shown of them, and what people decide about them. No method calls a vendor.
type Tasks struct {
	Store    *store.Store
	Accounts []*Account // the configured ones
	Now      func() time.Time
	Log      *slog.Logger

	// TrackAnswers: a request is met when the person has been told, whatever the vendors did.
	TrackAnswers bool
}

// Prepare drops what an earlier run did not take in to its end, and makes the accounts known
// to the store. It comes before everything else.
func (t *Tasks) Prepare(ctx context.Context) error {
	_, err := t.prepare(ctx)
	return err
}

func (t *Tasks) prepare(ctx context.Context) (map[string]store.Vendor, error) {
	cut, err := t.Store.DiscardUnsettled(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range cut {
		t.Log.Warn("the intake of a file was cut short and counts for nothing: run again with that file", "file", b.Name)
	}
	var specs []store.VendorSpec
	for _, a := range t.Accounts {
		specs = append(specs, store.VendorSpec{Name: a.Name, Kind: a.Kind, Fields: uint32(a.Fields)})
	}
	known, err := t.Store.SyncVendors(ctx, specs)
	if err != nil {
		return nil, err
	}
	for _, a := range t.Accounts {
		a.id = known[a.Name].ID // 0 where the store is read-only and the account new: it has no tasks
	}
	return known, nil
}

// account returns the configured account that the store knows by this id, or nil.
func (t *Tasks) account(id int64) *Account {
	for _, a := range t.Accounts {
		if a.id == id && id != 0 {
			return a
		}
	}
	return nil
}

// paces are those of the accounts, by their ids.
func (t *Tasks) paces() map[int64]Pace {
	all := map[int64]Pace{}
	for _, a := range t.Accounts {
		if a.id != 0 {
			all[a.id] = a.pace()
		}
	}
	return all
}
