package batch

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/notaryproject/tspclient-go"

	"expunge/store"
	"expunge/store/ledger"
)

// Outside are those who vouch for heads: an authority that says when there was one, and witnesses,
// who say that they were shown no other log. They see hashes and nothing else.
type Outside struct {
	Store     *store.Store
	Client    *http.Client // with a time limit
	Timestamp string       // URL of the authority; "": none
	Witnesses []WitnessAt
	Now       func() time.Time
}

// WitnessAt is a witness and where it is.
type WitnessAt struct {
	*ledger.Witness
	URL string
}

// stampEvery is how old the newest time stamp must be before another is asked for: a run a night gets one a night.
const stampEvery = 20 * time.Hour

// maxAnswer bounds what is read of a witness's answer, in bytes.
const maxAnswer = 4096

// AheadError: a witness has seen more of the log than there is.
type AheadError struct {
	Witness    string
	Seen, Have int64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("the witness %s has seen the log at %d, and here it is at %d: this store is older than what was published of it", e.Witness, e.Seen, e.Have)
}

// Vouch asks for what is not there yet of a head, keeps it in the store, and returns the head with it.
// Problems are for telling: a head without it is a head.
func (o *Outside) Vouch(ctx context.Context, h *ledger.Head) (_ *ledger.Head, problems []error, err error) {
	was := h
	for _, w := range o.Witnesses {
		if _, ok := w.Cosigned(h); ok {
			continue
		}
		with, err := o.cosign(ctx, h, w)
		if err != nil {
			problems = append(problems, fmt.Errorf("the witness %s: %w", w.Name, err))
			continue
		}
		h = with
	}
	if o.Timestamp != "" && h.Stamp == nil {
		last, err := o.Store.StampedHead(ctx, 0)
		if err != nil {
			return was, problems, err
		}
		if last == nil || o.Now().Sub(last.At) >= stampEvery {
			if stamp, err := o.stamp(ctx, h); err != nil {
				problems = append(problems, fmt.Errorf("the time stamp: %w", err))
			} else {
				with := *h
				with.Stamp = stamp
				h = &with
			}
		}
	}
	if h == was {
		return h, problems, nil
	}
	return h, problems, o.Store.KeepHead(ctx, h)
}

// stamp asks for a time stamp of a head, and believes none that is not of it.
func (o *Outside) stamp(ctx context.Context, h *ledger.Head) ([]byte, error) {
	ts, err := tspclient.NewHTTPTimestamper(o.Client, o.Timestamp)
	if err != nil {
		return nil, err
	}
	req, err := tspclient.NewRequest(tspclient.RequestOptions{Content: h.Text(), HashAlgorithm: crypto.SHA256})
	if err != nil {
		return nil, err
	}
	resp, err := ts.Timestamp(ctx, req)
	if err != nil {
		return nil, err
	}
	at, _, err := h.Stamped(resp.TimestampToken.FullBytes, nil)
	if err != nil {
		return nil, err
	}
	if off := o.Now().Sub(at); off.Abs() > time.Hour {
		return nil, fmt.Errorf("it is of %s: the authority's clock or this machine's is wrong", at.Format(time.RFC3339))
	}
	return resp.TimestampToken.FullBytes, nil
}

// cosign asks a witness for its signature, by c2sp.org/tlog-witness.
func (o *Outside) cosign(ctx context.Context, h *ledger.Head, w WitnessAt) (*ledger.Head, error) {
	size := int64(0)
	last, err := o.Store.CosignedHead(ctx, w.Witness)
	if err != nil {
		return nil, err
	}
	if last != nil && last.Size <= h.Size {
		size = last.Size
	}
	for again := false; ; again = true {
		proof, err := o.Store.Consistency(h, size)
		if err != nil {
			return nil, err
		}
		body := fmt.Sprintf("old %d\n%s\n%s", size, proof, h.Note)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		resp, err := o.Client.Do(req)
		if err != nil {
			return nil, errors.New("no answer")
		}
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, errors.New("no whole answer")
		}
		switch {
		case resp.StatusCode == http.StatusOK:
			return w.Cosign(h, answer)
		case resp.StatusCode == http.StatusConflict && !again:
			seen, err := strconv.ParseInt(string(bytes.TrimSuffix(answer, []byte("\n"))), 10, 64)
			if err != nil || seen < 0 {
				return nil, errors.New("it answers 409 without the size that it has seen")
			}
			if seen > h.Size {
				return nil, &AheadError{w.Name, seen, h.Size}
			}
			size = seen
		case resp.StatusCode == http.StatusUnprocessableEntity:
			return nil, errors.New("it has seen another log under this name (422)")
		default:
			return nil, fmt.Errorf("it answers %d", resp.StatusCode)
		}
	}
}
