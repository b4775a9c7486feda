package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"expunge/batch/intake"
	"expunge/store"
)

// answered is one line of the file that `expunge answered` takes in.
type answered struct {
	SubjectID  string `csv:"subject_id"`
	AnsweredAt string `csv:"answered_at"`
	Channel    string `csv:"channel"`
}

// answers is the table of when people were told.
var answers = intake.Table{Columns: []string{"subject_id", "answered_at", "channel"}, Row: &answered{},
	Synonyms: map[string][]string{"subject_id": intake.Synonyms("subject_id"), "answered_at": {"answered", "answeredon", "closedat", "repliedat"}, "channel": intake.Synonyms("channel")},
	Needs: []intake.Need{
		{Columns: []string{"subject_id"}, Problem: "there is no column subject_id", Hint: answeredHint},
		{Columns: []string{"answered_at"}, Problem: "there is no column answered_at", Hint: answeredHint},
	}}

const answeredHint = "the columns are subject_id,answered_at and, if you like, channel"

// OpenAnswers opens the file for Answered, or standard input for "-".
func OpenAnswers(path string, stdin io.Reader, o intake.Options) (*intake.File, error) {
	o.Columns = nil // they are those of files of people
	return intake.OpenFile(path, stdin, &answers, o)
}

// AnsweredResult is what became of one line.
type AnsweredResult struct {
	Line    int
	Problem string // "" if it is recorded
	Again   bool   // it was known: nothing has changed
	Changed bool   // it replaces what was known
}

// answeredPage is how many lines share a transaction.
const answeredPage = 1000

// Answered takes in when people were told what became of their requests, and calls tell for
// every line. It is safe to repeat. A line that cannot be so is refused and the others are taken.
func (t *Tasks) Answered(ctx context.Context, f *intake.File, tell func(AnsweredResult)) error {
	var page []store.Answer
	var lines []int
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		results, err := t.Store.RecordAnswers(ctx, page)
		if err != nil {
			return err
		}
		for i, r := range results {
			tell(AnsweredResult{Line: lines[i], Problem: answerProblems[r], Again: r == store.AnsweredAgain, Changed: r == store.AnswerChanged})
		}
		page, lines = page[:0], lines[:0]
		return nil
	}
	for {
		row, reject, err := f.Next()
		switch {
		case errors.Is(err, io.EOF):
			return flush()
		case err != nil:
			return errors.Join(err, flush())
		case reject != nil:
			tell(AnsweredResult{Line: reject.Line, Problem: reject.Message})
			continue
		}
		rec, ok := row.(*answered)
		if !ok {
			return fmt.Errorf("gocsv gave a %T", row)
		}
		a, problem := rec.answer(f, t.Now())
		if problem != "" {
			tell(AnsweredResult{Line: f.Line(), Problem: problem})
			continue
		}
		page, lines = append(page, a), append(lines, f.Line())
		if len(page) == answeredPage {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

var answerProblems = map[store.AnswerResult]string{
	store.AnswerUnknown: "the store knows no request with this subject_id",
	store.AnswerPurged:  "the request was purged",
	store.AnswerEarly:   "answered_at is before the request was received",
}

// answer is what a line says, or why it says nothing.
func (r *answered) answer(f *intake.File, now time.Time) (a store.Answer, problem string) {
	a.SubjectID, a.Channel = strings.Clone(strings.TrimSpace(r.SubjectID)), strings.Clone(strings.TrimSpace(r.Channel))
	text := strings.TrimSpace(r.AnsweredAt)
	switch {
	case a.SubjectID == "":
		return a, "no subject_id"
	case text == "":
		return a, "no answered_at"
	}
	if p := intake.ChannelProblem(a.Channel); p != "" {
		return a, "channel " + p
	}
	if a.At, a.Slack, problem = moment(f, text, now); problem != "" {
		return a, "answered_at " + problem
	}
	return a, ""
}
