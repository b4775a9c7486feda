package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// series are the measurements of one figure.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	s = slices.Sorted(slices.Values(s))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// spread is the range, as the reader of a ratio wants to know it.
func (s series) spread() string {
	if len(s) < 2 {
		return "1 run"
	}
	return fmt.Sprintf("%.3g - %.3g, n=%d", slices.Min(s), slices.Max(s), len(s))
}

// over are the ratios of two series that were measured in turns.
func (s series) over(base series) series {
	out := make(series, min(len(s), len(base)))
	for i := range out {
		out[i] = s[i] / base[i]
	}
	return out
}

// row is one line of the table.
type row struct {
	figure, value, baseline, ratio, goal, spread, verdict string
}

type table struct{ rows []row }

// add puts a figure into the table. baseline and ratio may be "".
func (t *table) add(figure, value, baseline, ratio, goal string, ok bool, spread string) {
	verdict := "ok"
	if !ok {
		verdict = "SHORT"
	}
	t.rows = append(t.rows, row{figure, value, baseline, ratio, goal, spread, verdict})
}

// missing says that a figure could not be measured.
func (t *table) missing(figure, why string) {
	t.rows = append(t.rows, row{figure: figure, value: why, verdict: "not measured"})
}

func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmeasured\tbaseline\tratio\tgoal\tspread\t")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.figure, r.value, dash(r.baseline), dash(r.ratio), dash(r.goal), dash(r.spread), r.verdict)
	}
	w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
