package main

import (
	"testing"
	"time"

	"expunge/batch"
)

// TestEventLine: an event says when the vendor was told and when it was done where that is
// not when it was recorded.
func TestEventLine(t *testing.T) {
	at := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	before, one, none := at.AddDate(0, 0, -6), 1, 0
	for _, tt := range []struct {
		event batch.HistoryEvent
		want  string
	}{
		{batch.HistoryEvent{Event: "erased", Evidence: "verified", Records: &one, RecordsAfter: &none, SubmittedAt: &at, CompletedAt: &at}, "erased, verified, 1 record, then 0"},
		{batch.HistoryEvent{Event: "erased", Evidence: "verified", SubmittedAt: &before, CompletedAt: &at}, "erased, verified, submitted 2026-11-20 09:00 UTC"},
		{batch.HistoryEvent{Event: "erased", Evidence: "confirmed", Reference: "10089", SubmittedAt: &before, CompletedAt: &before, By: "mo"}, "erased, confirmed, reference 10089, done 2026-11-20 09:00 UTC (mo)"},
		{batch.HistoryEvent{Event: "submitted", Reference: "10089", SubmittedAt: &before}, "submitted, reference 10089"},
		{batch.HistoryEvent{Event: "not_found", Evidence: "control", Records: &none}, "not found, control, 0 records"},
		{batch.HistoryEvent{Event: "failed", Reason: "refused", SubmittedAt: &before, CompletedAt: &before}, "failed, refused, submitted 2026-11-20 09:00 UTC"},
		{batch.HistoryEvent{Event: "decided", Action: "close", By: "kim", Note: "by hand"}, "close (kim: by hand)"},
		{batch.HistoryEvent{Event: "extended", Until: &before}, "extended until 2026-11-20 09:00 UTC"},
	} {
		tt.event.At = at
		if got := eventLine(&tt.event); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
