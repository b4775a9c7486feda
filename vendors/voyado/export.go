package voyado

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"expunge/vendors"
)

// fetchWithin is for how long a result can be fetched after its job is done: about a week
// (VENDORS.md).
const fetchWithin = 7 * 24 * time.Hour

// maxExport bounds one result, in bytes. The vendor names no bound; this one only keeps a
// mistake from filling a disk.
const maxExport = 8 << 30

// errNoResult: nothing says how the vendor answers for a result that is gone or not there
// yet. The job's status tells which.
var errNoResult = errors.New("the vendor has no result to fetch")

// Exports implements vendors.Exporter.
func (v *Vendor) Exports() vendors.Exports {
	return vendors.Exports{
		Mode: v.config.Export, Dir: v.config.ExportDir, Recipients: v.config.ExportRecipients,
		FetchWithin: fetchWithin,
	}
}

// CreateExport implements vendors.Exporter.
func (v *Vendor) CreateExport(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	return v.create(ctx, opExport, "create-export-customer-job", t)
}

// PollExport implements vendors.Exporter.
func (v *Vendor) PollExport(ctx context.Context, t *vendors.Target) (vendors.Progress, error) {
	return v.poll(ctx, "poll export", t)
}

// FetchExport implements vendors.Exporter. What it writes is what the vendor sent: whether
// it is a zip is for the caller to see.
func (v *Vendor) FetchExport(ctx context.Context, t *vendors.Target, w io.Writer) error {
	const op = "fetch export"
	if t.Reference == "" {
		return vendors.NotSent(v.name, op, vendors.ErrNoValue)
	}
	req, err := v.request(ctx, op, http.MethodGet, "export-customer-job-result", url.Values{"jid": {t.Reference}})
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/zip")
	a, err := v.transport.Stream(ctx, op, req, w, maxExport)
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusNotFound:
		return v.unreadable(op, a, errNoResult)
	case a.Status > 299:
		return v.failure(op, a)
	}
	return nil
}
