package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnswers: when a person was told is recorded once, another date replaces it with an
// event of its own, and what cannot be so changes nothing.
func TestAnswers(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id string) *NewSubject { return subject(s, line, id, id+"@example.com", "", alpha, beta) }
	b := take(t, s, "one", row(2, "R-1"), row(3, "R-2"), row(4, "R-3"), row(5, "R-4"))
	for n := range int64(3) {
		mustApply(t, s, Pending, to(s.task(t, (b.First+n)*TasksPerSubject), NotFound, start))
	}
	open, err := s.BeginIntake(ctx, "open", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Subject(row(2, "R-9")); err != nil {
		t.Fatal(err)
	}
	if err := open.finishLoading(); err != nil {
		t.Fatal(err)
	}
	if u, err := s.CountUnanswered(ctx, start.Add(31*24*time.Hour), start.Add(60*24*time.Hour)); err != nil || u != (UnansweredCount{3, 3, 0}) {
		t.Errorf("%+v %v", u, err)
	}
	if err := open.Discard(ctx); err != nil {
		t.Fatal(err)
	}
	hour := func(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }
	results, err := s.RecordAnswers(ctx, []Answer{{SubjectID: "R-1", At: hour(1), Channel: "email"}, {SubjectID: "R-1", At: hour(1), Channel: "email"},
		{SubjectID: "R-1", At: hour(2), Channel: "letter"}, {SubjectID: "R-2", At: hour(-1)}, {SubjectID: "R-3", At: hour(-1), Slack: 2 * time.Hour}, {SubjectID: "R-5", At: hour(1)}})
	if diff := cmp.Diff([]AnswerResult{Answered, AnsweredAgain, AnswerChanged, AnswerEarly, Answered, AnswerUnknown}, results); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	wantTold(t, s, "R-1", "received 1 1/0", "0 not_found", "answered", "answered")
	if h, err := s.History(ctx, "R-1"); err != nil || !h.AnsweredAt.Equal(hour(2)) || h.AnswerChannel != "letter" || h.Events[2].Body.Channel != "email" {
		t.Errorf("%+v %v", h, err)
	}
	if h, err := s.History(ctx, "R-3"); err != nil || !h.AnsweredAt.Equal(start) {
		t.Errorf("on the day of receipt: %v %v", h.AnsweredAt, err)
	}
	// R-4 is open, R-2 is finished and nobody told her.
	all, err := s.Unanswered(ctx, 10)
	if err != nil || len(all) != 1 || all[0].SubjectID != "R-2" {
		t.Errorf("%+v %v", all, err)
	}
	if u, err := s.CountUnanswered(ctx, start, start.Add(60*24*time.Hour)); err != nil || u != (UnansweredCount{1, 0, 1}) {
		t.Errorf("%+v %v", u, err)
	}
	if p, err := s.Purge(ctx, PurgeFilter{Before: hour(1)}); err != nil || p.Subjects != 3 {
		t.Fatalf("%+v %v", p, err)
	}
	if results, err := s.RecordAnswers(ctx, []Answer{{SubjectID: "R-1", At: hour(3)}}); err != nil || results[0] != AnswerPurged {
		t.Errorf("%v %v", results, err)
	}
}
